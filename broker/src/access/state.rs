//! What folders keep for as long as a session is open, without the session knowing them: caches, counters,
//! handles.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

type Held = Arc<dyn Any + Send + Sync>;

/// One value of each type. Bounded by the number of types in the program.
#[derive(Default)]
pub struct State(Mutex<HashMap<TypeId, Held>>);

impl State {
    /// The value of a type; made by `Default` when it is asked for first.
    pub fn of<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let held = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default())))
        };
        held.downcast().expect("entries stand under their own type")
    }
}
