//! Where names of the fleet's types belong.


