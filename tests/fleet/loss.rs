//! Redis dies, freezes, forgets or is cut off: nothing leaves that might be too much,
//! cached answers flow on, and all of it mends itself.

use super::*;
