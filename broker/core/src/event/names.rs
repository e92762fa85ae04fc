//! Names in an event, replaced by what stands for them: what a person, a machine or an operator chose or is
//! called, and where it is. What is a closed word, a number or chance stays.

use super::{Actor, Counts, Event, Target};
use crate::event::counts::Asked;

impl Event {
    /// With every name put through `replace`.
    #[must_use]
    pub fn with_names(self, replace: &dyn Fn(&str) -> String) -> Self {
        let one = |text: String| if text.is_empty() { text } else { replace(&text) };
        Self {
            actor: self.actor.with_names(&one),
            client: one(self.client),
            target: self.target.with_names(&one),
            policy: self.policy.into_iter().map(one).collect(),
            counts: self.counts.map(|counts| counts.with_names(&one)),
            ..self
        }
    }
}

impl Actor {
    /// Of what the broker does by itself nobody is named.
    fn with_names(self, one: &dyn Fn(String) -> String) -> Self {
        if self.method == "broker" {
            return self;
        }
        let Self { method, mount, role, subject, namespace, uid, name, accessor } = self;
        Self {
            method,
            mount: one(mount),
            role: one(role),
            subject: one(subject),
            namespace: one(namespace),
            uid: one(uid),
            name: one(name),
            accessor: one(accessor),
        }
    }
}

impl Target {
    /// `sys` is the same in every deployment.
    fn with_names(self, one: &dyn Fn(String) -> String) -> Self {
        let Self { mount, path, version, object } = self;
        let mount = if mount == "sys" { mount } else { one(mount) };
        Self { mount, path: one(path), version, object: one(object) }
    }
}

impl Counts {
    fn with_names(self, one: &dyn Fn(String) -> String) -> Self {
        let asked = |asked: Asked| Asked {
            role: one(asked.role),
            client: one(asked.client),
            path: one(asked.path),
            ..asked
        };
        Self { asked: self.asked.into_iter().map(asked).collect(), ..self }
    }
}
