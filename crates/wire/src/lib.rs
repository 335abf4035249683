//! What goes over the wire between deployments and is ours to define: Rust types of our own protos, and the meta service.
//!
//! The types are made at build from `proto/`, comments included; modules are packages. `meta` gives the same protos as a
//! schema source, so that a node loads `meta.goten.com` as it loads any other service; `standard` has the requests that
//! all types share. Services of users have no types here: a node knows them by their descriptors only.

pub mod meta;
pub mod standard;

pub mod goten {
    //! What is published, written anew.

    pub mod types {
        //! `goten.types`: what the system knows about every resource, and policies.
        include!(concat!(env!("OUT_DIR"), "/goten.types.rs"));
    }

    pub mod meta {
        //! The meta service, by version.
        pub mod v1 {
            //! `goten.meta.v1`: regions, services, resource types and deployments.
            include!(concat!(env!("OUT_DIR"), "/goten.meta.v1.rs"));
        }
    }
}

pub mod bowline {
    //! Our own.

    pub mod mixin {
        //! What is blended into every service, by version.
        pub mod v1 {
            //! `bowline.mixin.v1`: what deployments ask of each other about resources.
            include!(concat!(env!("OUT_DIR"), "/bowline.mixin.v1.rs"));

            /// The same protos as an encoded `google.protobuf.FileDescriptorSet`, without comments.
            pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mixin.bin"));

            /// `ReleaseOwnership`, in every deployment.
            pub const RELEASE_OWNERSHIP: &str =
                "/bowline.mixin.v1.ResourceShadowService/ReleaseOwnership";
        }
    }
}
