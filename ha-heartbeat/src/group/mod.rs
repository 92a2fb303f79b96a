//! The members of a farm: who is in the view, and who may take (`CONTRACT-FARM.md` F1 to F6).

mod id;

pub use id::{ViewId, rank};
