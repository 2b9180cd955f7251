//! The turns of a worker's event loop: whether the runtime has looked at its sockets since, so that nobody else has to.

use std::cell::Cell;

use tokio::runtime::Builder;

/// How many sockets the runtime hears of in one look, which is to be all that there are: what it does not take stays with
/// the kernel until the next one.
const MAX_EVENTS: usize = 64 * 1024;

/// How many times a task is polled before the runtime looks at its sockets though others wait. tokio's 61 are fewer than a
/// hundred busy connections wake, so that no turn would come to its end; more than this would let tasks that wake
/// themselves keep everybody from hearing anything for too long.
const MAX_POLLS: u32 = 256;

thread_local! {
    static TURNS: Cell<u64> = const { Cell::new(0) };
}

/// One turn of this thread's event loop, from one look at its sockets to the next one.
///
/// Where none is counted it goes on for ever: then nobody has looked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LoopTurn(u64);

impl LoopTurn {
    /// The one that goes on.
    pub fn now() -> Self {
        Self(TURNS.get())
    }

    /// Whether the runtime has looked since, and so has heard of everything that had come by then.
    pub fn is_over(self) -> bool {
        self != Self::now()
    }
}

/// Has a runtime count its turns. It must be a `current_thread` one: with others this would not be true.
///
/// tokio's scheduler (1.54) calls the hook in `Context::park`, and then, before that returns to run any task, polls the
/// driver: to wait, or not to if the hook has woken somebody. Either way epoll, asked for edges, tells of each socket for
/// which something has come since it was last told of, and the driver notes that as the socket's readiness, whether or
/// not a task waits for it. A read takes that away only if it found nothing more, and never what was noted after it. The
/// looks of `park_yield`, for which there is no hook, are not counted: the turn goes on, and who asks has to look himself.
pub fn count(builder: &mut Builder) -> &mut Builder {
    builder.on_thread_park(end).max_io_events_per_tick(MAX_EVENTS).event_interval(MAX_POLLS)
}

fn end() {
    TURNS.set(TURNS.get().wrapping_add(1));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_turn_is_over_once_the_runtime_has_had_nothing_to_do() {
        let runtime = count(Builder::new_current_thread().enable_time()).build().unwrap();
        runtime.block_on(async {
            let turn = LoopTurn::now();
            tokio::task::yield_now().await;
            assert!(!turn.is_over(), "a look at the sockets that is not counted");
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(turn.is_over() && !LoopTurn::now().is_over());
        });
    }
}
