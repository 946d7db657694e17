//! What the rules of TCP say of connections made by hand.
