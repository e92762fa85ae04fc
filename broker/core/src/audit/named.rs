//! Actions and outcomes by name in sealed details. A name that this version does not know is none: the rest
//! of the detail stays readable.

macro_rules! named {
    ($module:ident, $name:ty) => {
        pub mod $module {
            use serde::{Deserialize as _, Deserializer, Serializer};

            pub fn serialize<S: Serializer>(value: &Option<$name>, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(value.map_or("", |value| value.as_str()))
            }

            pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<$name>, D::Error> {
                String::deserialize(from).map(|name| <$name>::from_name(&name))
            }
        }
    };
}

named!(action, symbolon_proto::log::Action);
named!(outcome, symbolon_proto::log::Outcome);
