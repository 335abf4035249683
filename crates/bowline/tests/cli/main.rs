//! The command line against a real server, both as users run them.

mod backups;
mod controllers;
mod env;
mod lab;
mod serving;
mod verbs;
mod watching;
