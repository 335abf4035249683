//! Policies from mirrors, and from owners where mirrors do not know yet.


