//! Labels with a fixed list of values.

use std::{fmt::Debug, hash::Hash, ops::Deref};

use prometheus_client::metrics::family::Family;

/// A value of a label with a fixed list of values. Implement it with [`crate::label_values!`].
pub trait LabelValue: Copy + Debug + Eq + Hash + Send + Sync + 'static {
    /// The name of the label.
    const LABEL: &'static str;
    /// All values.
    const ALL: &'static [Self];

    /// The value in the exposition format.
    fn as_str(self) -> &'static str;
}

/// Defines a label and all its values: `enum Name: "label" { Variant = "value", … }`.
#[macro_export]
macro_rules! label_values {
    ($(#[$meta:meta])* $visibility:vis enum $name:ident: $label:literal {
        $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)+
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $visibility enum $name {
            $($(#[$variant_meta])* $variant,)+
        }

        impl $crate::service::metrics::LabelValue for $name {
            const LABEL: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

/// Name and value of a label.
type Label = (&'static str, &'static str);

/// A metric with one series per value of a label.
#[derive(Clone, Debug)]
pub struct By<V, M> {
    family: Family<[Label; 1], M>,
    label: std::marker::PhantomData<fn(V)>,
}

impl<V: LabelValue, M> By<V, M> {
    /// Creates all series.
    pub(super) fn new(make: fn() -> M) -> Self {
        let by = Self {
            family: Family::new_with_constructor(make),
            label: std::marker::PhantomData,
        };
        for value in V::ALL {
            drop(by.of(*value));
        }
        by
    }

    /// The series of one value. The guard holds a read lock: drop it before requesting another series.
    pub fn of(&self, value: V) -> impl Deref<Target = M> + '_ {
        self.family.get_or_create(&[(V::LABEL, value.as_str())])
    }

    pub(super) fn family(&self) -> Family<[Label; 1], M> {
        self.family.clone()
    }
}
