//! Lines on their way to a stream that may not be read: a thread of its own writes them, out of a queue of bounded size.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long the writer may take to finish when the process ends.
pub(super) const FLUSH_TIME: Duration = Duration::from_secs(1);
/// The shortest time between two notices of dropped lines.
const DROP_NOTICE: Duration = Duration::from_secs(1);

/// How much may wait for the writer; what comes beyond it is dropped and counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// In lines.
    pub(super) lines: usize,
    /// In bytes: a path alone may have 16 KiB.
    pub(super) bytes: usize,
}

/// The end that never waits.
pub(super) struct LineQueue {
    lines: SyncSender<Box<[u8]>>,
    max_bytes: usize,
    shared: Arc<Shared>,
    /// Disconnected when the writer is done.
    done: Mutex<Receiver<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Bytes of the lines that wait.
    waiting: AtomicUsize,
    dropped: AtomicU64,
    /// Nothing comes behind what is in the queue now.
    ending: AtomicBool,
}

impl LineQueue {
    /// Starts the writer, in a thread of this name. It passes the number of lines that were dropped to `notice`.
    pub(super) fn start(
        name: &str,
        bounds: Bounds,
        output: impl Write + Send + 'static,
        notice: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let (lines, received) = sync_channel(bounds.lines);
        let (ended, done) = sync_channel(0);
        let shared = Arc::<Shared>::default();
        let mut writer = Writer {
            lines: received,
            shared: Arc::clone(&shared),
            output: BufWriter::new(output),
            notice,
            noticed: 0,
            last_notice: Instant::now(),
        };
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _ended: SyncSender<()> = ended;
            writer.run();
        })?;
        Ok(Self { lines, max_bytes: bounds.bytes, shared, done: done.into() })
    }

    /// Queues a line with its end, or counts it as dropped.
    pub(super) fn push(&self, line: Box<[u8]>) {
        let length = line.len();
        let waiting = self.shared.waiting.fetch_add(length, Ordering::Relaxed);
        if waiting.saturating_add(length) > self.max_bytes || self.lines.try_send(line).is_err() {
            self.shared.waiting.fetch_sub(length, Ordering::Relaxed);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many lines were dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything is written, at most [`FLUSH_TIME`]. Lines that come later are lost.
    pub(super) fn end(&self) {
        self.shared.ending.store(true, Ordering::Release);
        // Wakes the writer. A full queue keeps it awake anyway.
        let _ = self.lines.try_send(Box::default());
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = done.recv_timeout(FLUSH_TIME);
    }
}

impl fmt::Debug for LineQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineQueue").field("shared", &self.shared).finish_non_exhaustive()
    }
}

struct Writer<W: Write, N> {
    lines: Receiver<Box<[u8]>>,
    shared: Arc<Shared>,
    output: BufWriter<W>,
    notice: N,
    /// Dropped lines that were spoken of.
    noticed: u64,
    last_notice: Instant,
}

impl<W: Write, N: Fn(u64)> Writer<W, N> {
    /// Flushes when there is nothing to write. A stream that was closed is no error: its reader wants no more lines.
    fn run(&mut self) {
        loop {
            let line = match self.lines.try_recv() {
                Ok(line) => line,
                Err(_empty) => {
                    let _ = self.output.flush();
                    // Before the look at the flag, so that a notice is written as well.
                    if self.give_notice() {
                        continue;
                    }
                    if self.shared.ending.load(Ordering::Acquire) {
                        // What came between the last look and the flag.
                        self.drain();
                        return;
                    }
                    match self.lines.recv_timeout(DROP_NOTICE) {
                        Ok(line) => line,
                        Err(RecvTimeoutError::Timeout) => continue,
                        Err(RecvTimeoutError::Disconnected) => return,
                    }
                }
            };
            self.write(&line);
            if self.last_notice.elapsed() >= DROP_NOTICE {
                self.give_notice();
            }
        }
    }

    fn drain(&mut self) {
        while let Ok(line) = self.lines.try_recv() {
            self.write(&line);
        }
        let _ = self.output.flush();
    }

    fn write(&mut self, line: &[u8]) {
        let _ = self.output.write_all(line);
        self.shared.waiting.fetch_sub(line.len(), Ordering::Relaxed);
    }

    /// Whether there was something to say.
    fn give_notice(&mut self) -> bool {
        let dropped = self.shared.dropped.load(Ordering::Relaxed);
        let count = dropped.saturating_sub(self.noticed);
        self.last_notice = Instant::now();
        if count == 0 {
            return false;
        }
        self.noticed = dropped;
        (self.notice)(count);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::MutexGuard;

    use super::*;

    /// Takes bytes when it is let.
    #[derive(Clone, Default)]
    struct Output {
        written: Arc<Mutex<Vec<u8>>>,
        gate: Arc<Mutex<()>>,
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _open = self.gate.lock().unwrap();
            self.written.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Output {
        fn close(&self) -> MutexGuard<'_, ()> {
            self.gate.lock().unwrap()
        }

        fn length(&self) -> usize {
            self.written.lock().unwrap().len()
        }
    }

    fn start(bounds: Bounds, output: &Output) -> (LineQueue, Arc<AtomicU64>) {
        let noticed = Arc::<AtomicU64>::default();
        let counter = Arc::clone(&noticed);
        let notice = move |count| {
            counter.fetch_add(count, Ordering::Relaxed);
        };
        (LineQueue::start("lines", bounds, output.clone(), notice).unwrap(), noticed)
    }

    #[test]
    fn large_lines_are_bounded_by_their_bytes() {
        let output = Output::default();
        let closed = output.close();
        let (queue, noticed) = start(Bounds { lines: 1000, bytes: 64 * 1024 }, &output);
        for _ in 0..100 {
            queue.push(vec![b'x'; 16 * 1024].into());
        }
        let dropped = queue.dropped();
        // Four wait, and what the writer has taken out counts until it is written.
        assert_eq!(dropped, 96);
        drop(closed);
        queue.end();
        assert_eq!(output.length(), 4 * 16 * 1024);
        assert_eq!(noticed.load(Ordering::Relaxed), dropped);
    }

    #[test]
    fn a_line_larger_than_all_room_is_dropped_and_the_next_one_written() {
        let output = Output::default();
        let (queue, noticed) = start(Bounds { lines: 10, bytes: 100 }, &output);
        queue.push(vec![b'x'; 101].into());
        queue.push(b"short\n".as_slice().into());
        queue.end();
        assert_eq!((queue.dropped(), noticed.load(Ordering::Relaxed), output.length()), (1, 1, 6));
    }

    #[test]
    fn the_room_of_what_was_written_is_free_again() {
        let output = Output::default();
        let (queue, _) = start(Bounds { lines: 4, bytes: 64 }, &output);
        let mut pushed = 0;
        while pushed < 100 {
            let dropped = queue.dropped();
            queue.push(b"0123456789\n".as_slice().into());
            pushed += usize::from(queue.dropped() == dropped);
        }
        queue.end();
        assert_eq!(output.length(), 1100);
    }
}
