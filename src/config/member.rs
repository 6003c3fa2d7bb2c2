//! How a member of a config.json object is read when it may be missing, null
//! or, being a string, empty.
//!
//! The engines write config.json with Go's types, for which an empty string,
//! `null` and no member are the same thing; so they are here. An `Option<Text>`
//! is therefore never `Some("")`.

use serde::de::{Deserialize, Deserializer, Visitor};

use super::text::Text;

/// A type that a member of an object can have.
pub(super) trait Member<'de>: Sized {
    /// Reads the member, taking `null` for its absence.
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

/// Reads a member; what `#[serde(deserialize_with)]` names.
pub(super) fn read<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Member<'de>,
{
    T::read(deserializer)
}

/// Reads `null` as the type's default.
pub(super) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Whether a member can be left out: reading gives it back.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

macro_rules! plain_members {
    ($($ty:ty),*) => {$(
        impl<'de> Member<'de> for $ty {
            fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                nullable(deserializer)
            }
        }

        impl<'de> Member<'de> for Option<$ty> {
            fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::deserialize(deserializer)
            }
        }
    )*};
}

plain_members!(bool, u16, u32, u64, i32, i64);

impl<'de: 'a, 'a> Member<'de> for Text<'a> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        nullable(deserializer)
    }
}

impl<'de: 'a, 'a> Member<'de> for Option<Text<'a>> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<Text>::deserialize(deserializer)?;
        Ok(text.filter(|text| !text.is_empty()))
    }
}

impl<'de, T: Deserialize<'de>> Member<'de> for Vec<T> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        nullable(deserializer)
    }
}

/// A list whose absence means something else than an empty one.
impl<'de, T: Deserialize<'de>> Member<'de> for Option<Vec<T>> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

impl<'de: 'a, 'a, V: Deserialize<'de>> Member<'de> for super::spec::Map<'a, V> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        nullable(deserializer)
    }
}

/// Reads a struct from an object alone. serde's own code would also take an
/// array of the members' values in order.
pub(super) struct Object<D>(pub(super) D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Object<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

/// Makes a struct of config.json: every member may be absent or null, and
/// unknown ones are ignored. What is written leaves absent members out.
macro_rules! spec_struct {
    ($(#[$meta:meta])* $name:ident<$lt:lifetime> { $($fields:tt)* }) => {
        spec_struct! { @make [#[serde(bound(deserialize = "'de: 'a"))] $(#[$meta])*] [$name<$lt>] { $($fields)* } }
        spec_struct! { @member ['de: $lt, $lt] [$name<$lt>] }
        spec_struct! { @serialize [$lt] [$name<$lt>] }
    };
    ($(#[$meta:meta])* $name:ident { $($fields:tt)* }) => {
        spec_struct! { @make [$(#[$meta])*] [$name] { $($fields)* } }
        spec_struct! { @member ['de] [$name] }
        spec_struct! { @serialize [] [$name] }
    };
    (@make [$($meta:tt)*] [$($name:tt)*] { $($(#[$fmeta:meta])* $field:ident: $ty:ty,)* }) => {
        #[derive(Debug, Clone, Default, PartialEq, serde::Deserialize, serde::Serialize)]
        // "Self" makes serde's code an inherent function, for the trait's below to call.
        #[serde(remote = "Self", rename_all = "camelCase", expecting = "an object")]
        $($meta)*
        pub struct $($name)* {
            $($(#[$fmeta])* #[serde(
                default,
                deserialize_with = "crate::config::member::read",
                skip_serializing_if = "crate::config::member::is_default"
            )] pub $field: $ty,)*
        }
    };
    (@serialize [$($generics:tt)*] [$($name:tt)*]) => {
        impl<$($generics)*> serde::ser::Serialize for $($name)* {
            fn serialize<S: serde::ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, serializer)
            }
        }
    };
    (@member [$($generics:tt)*] [$($name:tt)*]) => {
        impl<$($generics)*> serde::de::Deserialize<'de> for $($name)* {
            fn deserialize<D: serde::de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::deserialize(crate::config::member::Object(deserializer))
            }
        }

        impl<$($generics)*> crate::config::member::Member<'de> for $($name)* {
            fn read<D: serde::de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::config::member::nullable(deserializer)
            }
        }

        impl<$($generics)*> crate::config::member::Member<'de> for Option<$($name)*> {
            fn read<D: serde::de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                serde::de::Deserialize::deserialize(deserializer)
            }
        }
    };
}

pub(super) use spec_struct;
