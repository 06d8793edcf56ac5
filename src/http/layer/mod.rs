//! The layers of the stack, one file each: what it does, where it stands and why.

pub mod alias;
pub mod authenticate;
pub mod bounds;
pub mod negotiate;
pub mod quota;
pub mod realm;
pub mod record;
pub mod rescue;
pub mod trace;
