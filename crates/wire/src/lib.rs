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

            /// Paths of its methods.
            pub mod method {
                pub const RELEASE_OWNERSHIP: &str =
                    "/bowline.mixin.v1.ResourceShadowService/ReleaseOwnership";
                pub const ESTABLISH_REFERENCES: &str =
                    "/bowline.mixin.v1.ResourceShadowService/EstablishReferences";
                pub const CONFIRM_BLOCKADES: &str =
                    "/bowline.mixin.v1.ResourceShadowService/ConfirmBlockades";
                pub const WITHDRAW_BLOCKADES: &str =
                    "/bowline.mixin.v1.ResourceShadowService/WithdrawBlockades";
                pub const CHECK_IF_RESOURCE_IS_BLOCKED: &str =
                    "/bowline.mixin.v1.ResourceShadowService/CheckIfResourceIsBlocked";
                pub const CHECK_IF_RESOURCE_HAS_DELETION_SUBSCRIBER: &str =
                    "/bowline.mixin.v1.ResourceShadowService/CheckIfResourceHasDeletionSubscriber";
                pub const SUGGEST_QUESTIONS: &str =
                    "/bowline.mixin.v1.ResourceShadowService/SuggestQuestions";
                pub const WATCH_IMPORTED_SERVICE_DELETIONS: &str =
                    "/bowline.mixin.v1.ResourceShadowService/WatchImportedServiceDeletions";
                pub const GET_DELETION: &str =
                    "/bowline.mixin.v1.ResourceShadowService/GetDeletion";
                pub const LIST_REFERRERS: &str =
                    "/bowline.mixin.v1.ResourceShadowService/ListReferrers";
                pub const GET_RESOURCE_SHADOW: &str =
                    "/bowline.mixin.v1.ResourceShadowService/GetResourceShadow";
                pub const WATCH_RESOURCE_SHADOWS: &str =
                    "/bowline.mixin.v1.ResourceShadowService/WatchResourceShadows";
                pub const LIST_RESOURCE_SHADOWS: &str =
                    "/bowline.mixin.v1.ResourceShadowService/ListResourceShadows";
            }
        }
    }

    pub mod server {
        //! What every server has beside the services that it serves, by version.
        pub mod v1 {
            //! `bowline.server.v1`: what a server tells of itself, to people.
            include!(concat!(env!("OUT_DIR"), "/bowline.server.v1.rs"));

            /// The same protos, with all that they import, as an encoded `google.protobuf.FileDescriptorSet`.
            pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/server.bin"));

            /// Path of the method over gRPC.
            pub const LIST_CONTROLLERS: &str =
                "/bowline.server.v1.ControllerService/ListControllers";
            /// Its path over HTTP.
            pub const LIST_CONTROLLERS_PATH: &str = "/bowline/v1/controllers";
        }
    }

    pub mod graph {
        //! What a deployment keeps about the graph, by version.
        pub mod v1 {
            //! `bowline.graph.v1`: rows of a database that are not resources.
            include!(concat!(env!("OUT_DIR"), "/bowline.graph.v1.rs"));
        }
    }
}
