//! The thread that brings the table up to date while commits go on.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};

use super::base::{Failure, Tables};
use super::header::Header;
use super::overlay::Generation;
use crate::store::{Cause, StoreError};

/// Rows on their way into the table, and what its header says once it has them.
#[derive(Debug)]
pub(super) struct Job {
    pub rows: Arc<Generation>,
    pub header: Header,
}

/// Gives the thread one job at a time.
#[derive(Debug)]
pub(super) struct Checkpoints {
    jobs: Option<SyncSender<Job>>,
    done: Receiver<Outcome>,
    thread: Option<JoinHandle<()>>,
    is_under_way: bool,
}

/// What became of the job that was under way: what the table says now, or why it does not.
pub(super) type Outcome = Result<Header, Failed>;

/// A checkpoint that did not happen.
#[derive(Debug)]
pub(super) struct Failed {
    pub failure: Failure,
    /// To be tried again; `None` if there is nobody left who could.
    pub job: Option<Job>,
}

impl Checkpoints {
    pub(super) fn start(tables: Tables) -> Result<Self, StoreError> {
        let (jobs, queue) = sync_channel(1);
        let (answers, done) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("symbolon-table".to_owned())
            .spawn(move || run(tables, &queue, &answers))
            .map_err(|error| StoreError::Unavailable(Cause::new(error)))?;
        Ok(Self { jobs: Some(jobs), done, thread: Some(thread), is_under_way: false })
    }

    /// Hands over a job. None may be under way.
    pub(super) fn begin(&mut self, job: Job) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(job); // a thread that is gone is told of by `wait`
        }
        self.is_under_way = true;
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.is_under_way
    }

    /// The outcome of the job that is under way, if there is one by now.
    pub(super) fn poll(&mut self) -> Option<Outcome> {
        if !self.is_under_way {
            return None;
        }
        let outcome = match self.done.try_recv() {
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err(ended()),
            Ok(outcome) => outcome,
        };
        self.is_under_way = false;
        Some(outcome)
    }

    /// Waits for the job that is under way, if there is one.
    pub(super) fn wait(&mut self) -> Option<Outcome> {
        let was_under_way = std::mem::take(&mut self.is_under_way);
        was_under_way.then(|| self.done.recv().unwrap_or_else(|_| Err(ended())))
    }
}

/// Waits for the job that is under way and closes the file.
impl Drop for Checkpoints {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic there has been reported by the panic hook
        }
    }
}

fn run(mut tables: Tables, queue: &Receiver<Job>, answers: &SyncSender<Outcome>) {
    while let Ok(job) = queue.recv() {
        let outcome = match tables.apply(&job.rows, &job.header) {
            Ok(()) => Ok(job.header), // the rows go now, not when somebody asks
            Err(failure) => Err(Failed { failure, job: Some(job) }),
        };
        let _ = answers.send(outcome); // nobody waits any more: the checkpoint stands all the same
    }
}

fn ended() -> Failed {
    let cause = Cause::new("the thread that writes the store's file has ended; restart");
    let failure = Failure { error: StoreError::Unavailable(cause), is_final: true };
    Failed { failure, job: None }
}
