//! Several workers on one thread, polled by hand, so that every order of events can be had.

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::super::places::{Places, Usage};
use super::*;
use crate::deadline::Deadlines;

/// A worker whose connections are nothing but their places.
struct Worker {
    admission: Admission<Place>,
    idle: RefCell<Vec<Place>>,
    /// How often a place was taken for a new connection.
    connects: Cell<usize>,
}

type Waiting = Pin<Box<dyn Future<Output = Result<Turn<Place>, Denial>>>>;

impl Worker {
    fn new(places: &Places) -> Rc<Self> {
        let admission = Admission::new(places.join());
        Rc::new(Self { admission, idle: RefCell::default(), connects: Cell::new(0) })
    }

    /// A request without a connection, which never loses patience.
    fn ask(self: &Rc<Self>) -> Waiting {
        let worker = Rc::clone(self);
        Box::pin(async move {
            let patience = || (Deadlines::default().deadline(), Duration::ZERO);
            worker.admission.admit(patience).await
        })
    }

    /// The connection of a request whose turn has come.
    fn poll(&self, waiting: &mut Waiting) -> Option<Result<Place, Denial>> {
        match waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => None,
            Poll::Ready(Err(denial)) => Some(Err(denial)),
            Poll::Ready(Ok(Turn::Again(place))) => Some(Ok(place)),
            Poll::Ready(Ok(Turn::New(place))) => {
                self.connects.set(self.connects.get() + 1);
                Some(Ok(place))
            }
        }
    }

    fn tell_idle(&self) {
        self.admission.idle(self.idle.borrow().len());
    }

    fn put(&self, place: Place) {
        let unwanted = if self.admission.is_wanted() { self.admission.hand_on(place) } else { Some(place) };
        self.idle.borrow_mut().extend(unwanted);
        self.tell_idle();
    }

    /// Does what other workers have called it for.
    fn attend(&self) {
        let give_up = || {
            let oldest = self.idle.borrow_mut().pop();
            self.tell_idle();
            oldest.is_some()
        };
        let polled = pin!(self.admission.attend(give_up)).poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }
}

fn attend(workers: &[Rc<Worker>]) {
    // What the last one does may call the first one.
    for worker in workers.iter().chain(workers).chain(workers) {
        worker.attend();
    }
}

/// One connection, a worker that has it, and so many requests behind it.
fn one_place(waiting: usize) -> (Places, Rc<Worker>, Place, Vec<Waiting>) {
    let places = Places::new(1, 100);
    let worker = Worker::new(&places);
    let place = worker.poll(&mut worker.ask()).unwrap().unwrap();
    let mut behind: Vec<_> = (0..waiting).map(|_| worker.ask()).collect();
    for one in &mut behind {
        assert!(worker.poll(one).is_none());
    }
    (places, worker, place, behind)
}

#[test]
fn who_waits_is_served_in_order_by_what_is_put_back_and_by_what_is_closed() {
    let (places, worker, mut place, waiting) = one_place(4);
    for (at, mut one) in waiting.into_iter().enumerate() {
        // By turns.
        if at % 2 == 0 {
            worker.put(place);
        } else {
            drop(place);
        }
        attend(&[Rc::clone(&worker)]);
        place = worker.poll(&mut one).expect("it is its turn").unwrap();
    }
    assert_eq!(places.usage(), Usage { taken: 1, idle: 0, waiting: 0, waited: 4 });
    assert_eq!(worker.connects.get(), 3, "what is put back is used again");
}

#[test]
fn a_turn_that_nobody_takes_goes_to_the_next() {
    for is_put_back in [true, false] {
        let (places, worker, place, mut waiting) = one_place(3);
        if is_put_back {
            worker.put(place);
        } else {
            drop(place);
        }
        attend(&[Rc::clone(&worker)]);
        // The first one has been given its turn, and goes away before it takes it.
        drop(waiting.remove(0));
        assert!(worker.poll(&mut waiting[1]).is_none(), "it is not the last one's");
        let place = worker.poll(&mut waiting[0]).expect("it is the second one's").unwrap();
        assert_eq!(worker.connects.get(), if is_put_back { 1 } else { 2 });
        drop((place, waiting));
        attend(&[worker]);
        assert_eq!(places.usage(), Usage { taken: 0, idle: 0, waiting: 0, waited: 3 });
    }
}

#[test]
fn who_goes_away_leaves_no_trace_in_the_queue() {
    let (places, worker, place, waiting) = one_place(100);
    assert!(matches!(worker.poll(&mut worker.ask()), Some(Err(Denial::Overloaded { .. }))), "a hundred wait");
    drop(waiting);
    assert_eq!(places.usage().waiting, 0);
    assert!(worker.admission.waiting.borrow().is_empty());
    for _ in 0..1000 {
        let mut one = worker.ask();
        assert!(worker.poll(&mut one).is_none());
    }
    worker.put(place);
    assert_eq!(worker.idle.borrow().len(), 1, "nobody wants it");
}

#[test]
fn a_worker_that_needs_nothing_lends_its_places() {
    let places = Places::new(3, 1);
    let (idler, busy) = (Worker::new(&places), Worker::new(&places));
    let held: Vec<_> = (0..3).map(|_| idler.poll(&mut idler.ask()).unwrap().unwrap()).collect();
    for place in held {
        idler.put(place);
    }
    let mut waiting: Vec<_> = (0..4).map(|_| busy.ask()).collect();
    assert!(waiting.iter_mut().all(|one| busy.poll(one).is_none()), "three wait for what is not in use");
    assert!(busy.poll(&mut busy.ask()).is_some_and(|refused| refused.is_err()));
    attend(&[Rc::clone(&idler), Rc::clone(&busy)]);
    let served: Vec<_> = waiting.iter_mut().filter_map(|one| busy.poll(one)).collect();
    assert_eq!((served.len(), idler.idle.borrow().len()), (3, 0));
}

/// Who is served, by worker, of so many exchanges, when all of the workers always have requests that wait.
fn shares(workers: usize, limit: usize, exchanges: usize) -> (Vec<usize>, usize) {
    let places = Places::new(limit, 10_000);
    let workers: Vec<_> = (0..workers).map(|_| Worker::new(&places)).collect();
    let mut served = vec![0; workers.len()];
    let mut waiting: Vec<_> =
        (0..limit * 3).flat_map(|_| (0..workers.len()).rev().map(|at| (at, workers[at].ask()))).collect();
    // The first worker comes first, and takes all there is.
    waiting.sort_by_key(|(at, _)| *at);
    let mut busy = Vec::new();
    for _ in 0..exchanges {
        for (at, mut one) in std::mem::take(&mut waiting) {
            match workers[at].poll(&mut one) {
                Some(place) => {
                    served[at] += 1;
                    busy.insert(0, (at, place.unwrap()));
                    waiting.push((at, workers[at].ask()));
                }
                None => waiting.push((at, one)),
            }
        }
        let (at, place) = busy.pop().unwrap();
        workers[at].put(place);
        attend(&workers);
    }
    (served, workers.iter().map(|worker| worker.connects.get()).sum())
}

#[test]
fn places_come_to_equal_shares_and_then_stay() {
    for (workers, limit) in [(2, 2), (2, 3), (3, 4), (4, 6), (4, 40), (2, 64)] {
        let exchanges = 40 * limit;
        let (served, connects) = shares(workers, limit, exchanges);
        let fewest = *served.iter().min().unwrap();
        assert!(fewest * workers * 2 > exchanges, "{served:?} by {workers} workers with {limit} places");
        assert!(connects <= 2 * limit, "{connects} connects for {limit} places of {workers} workers");
    }
}

#[test]
fn fewer_places_than_workers_go_round() {
    for (workers, limit) in [(2, 1), (4, 1), (4, 3)] {
        let (served, _) = shares(workers, limit, 100);
        let (fewest, most) = (served.iter().min().unwrap(), served.iter().max().unwrap());
        assert!(most - fewest <= 100 / workers, "{served:?} by {workers} workers with {limit} places");
        assert!(*fewest > 10, "{served:?}");
    }
}

/// What may happen, in any order, to the requests and connections of three workers.
#[derive(Default)]
struct Storm {
    waiting: Vec<(usize, Waiting)>,
    busy: Vec<(usize, Place)>,
}

impl Storm {
    fn step(&mut self, random: &mut fastrand::Rng, workers: &[Rc<Worker>]) {
        let at = random.usize(..workers.len());
        match random.u8(..10) {
            0..4 => {
                let idle = workers[at].idle.borrow_mut().pop();
                workers[at].tell_idle();
                match idle {
                    Some(place) => self.busy.push((at, place)),
                    // It asks at once: no connection is put back in between.
                    None => self.poll_one(at, workers[at].ask(), workers),
                }
            }
            4..7 if !self.busy.is_empty() => {
                let (at, place) = self.busy.swap_remove(random.usize(..self.busy.len()));
                workers[at].put(place);
            }
            7 if !self.busy.is_empty() => drop(self.busy.swap_remove(random.usize(..self.busy.len()))),
            8 if !self.waiting.is_empty() => drop(self.waiting.remove(random.usize(..self.waiting.len()))),
            _ => workers[at].attend(),
        }
        if random.bool() {
            self.poll(workers);
        }
    }

    fn poll(&mut self, workers: &[Rc<Worker>]) {
        for (at, one) in std::mem::take(&mut self.waiting) {
            self.poll_one(at, one, workers);
        }
    }

    fn poll_one(&mut self, at: usize, mut one: Waiting, workers: &[Rc<Worker>]) {
        match workers[at].poll(&mut one) {
            Some(Ok(place)) => self.busy.push((at, place)),
            Some(Err(_)) => {}
            None => self.waiting.push((at, one)),
        }
    }
}

#[test]
fn whatever_happens_no_place_is_lost_or_lies_idle_while_somebody_waits() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (limit, max_waiting) = (random.usize(1..6), random.usize(0..12));
        let places = Places::new(limit, max_waiting);
        let workers: Vec<_> = (0..3).map(|_| Worker::new(&places)).collect();
        let mut storm = Storm::default();
        for _ in 0..400 {
            storm.step(&mut random, &workers);
            let usage = places.usage();
            assert!(usage.taken <= limit && usage.waiting <= max_waiting + limit, "{usage:?} with seed {seed}");
            attend(&workers);
            storm.poll(&workers);
            let idle: usize = workers.iter().map(|worker| worker.idle.borrow().len()).sum();
            let usage = places.usage();
            assert_eq!((usage.taken, usage.idle), (storm.busy.len() + idle, idle), "seed {seed}");
            assert!(usage.waiting <= max_waiting, "{usage:?} with seed {seed}");
            assert_eq!(usage.waiting, storm.waiting.len(), "seed {seed}");
            let is_waiting = usage.waiting > 0;
            assert!(!is_waiting || (idle == 0 && usage.taken == limit), "{usage:?}, {idle} idle, seed {seed}");
        }
        drop(storm);
        attend(&workers);
        let idle: usize = workers.iter().map(|worker| worker.idle.borrow_mut().drain(..).count()).sum();
        assert!(idle <= limit);
        assert_eq!((places.usage().taken, places.usage().waiting), (0, 0), "seed {seed}");
    }
}
