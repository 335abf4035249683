//! Where a request is on its way between deployments, and what goes along with it to the next one.

use std::time::Duration;

use bowline_node::Call;
use bowline_node::peers::headers::{
    AUTHORIZATION, CACHE_CONTROL, CONSISTENCY_TOKEN, FORWARDED, LOCAL, PART, REQUEST_ID,
    TRACEPARENT,
};

use crate::engine::explain;
use crate::handler::Context;

/// Request headers that go along to whoever answers.
const CARRIED: [&str; 5] =
    [AUTHORIZATION, CACHE_CONTROL, TRACEPARENT, REQUEST_ID, CONSISTENCY_TOKEN];
/// The longest time that is kept back of a deadline, so that the failure of a peer can still be told.
const KEPT_BACK_MAX: Duration = Duration::from_millis(250);

/// What the request's way forbids to do with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Hop {
    /// It came from a client: everything is possible.
    #[default]
    First,
    /// A deployment forwarded it, because this one is to own it: it never goes on.
    Forwarded,
    /// A deployment asks this one alone.
    Local,
    /// As `Local`, and the answer is to be merged with others: see [`super::part`].
    Part,
}

impl Hop {
    /// Only what identified deployments say counts; transports refuse it from anybody else.
    pub(crate) fn of(context: &Context) -> Self {
        let says = |name: &str| context.caller.is_some() && context.header(name) == Some("1");
        match () {
            () if says(PART) => Self::Part,
            () if says(LOCAL) => Self::Local,
            () if says(FORWARDED) => Self::Forwarded,
            () => Self::First,
        }
    }

    /// Whether the answer is that of this deployment alone.
    pub(crate) fn is_local(self) -> bool {
        matches!(self, Self::Local | Self::Part)
    }
}

/// How a call is sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SentAs {
    Forwarded,
    Local,
    Part,
}

/// `call` with what goes along of the request that it is made for.
pub(crate) fn carry(call: Call, context: &Context, sent: SentAs) -> Call {
    let mut call = call;
    for name in CARRIED {
        if let Some(value) = context.header(name) {
            call = call.with_header(name, value);
        }
    }
    if context.explain.is_wanted() {
        call = call.with_header(explain::HEADER, "true");
    }
    match sent {
        SentAs::Forwarded => call.with_header(FORWARDED, "1"),
        SentAs::Local => call.with_header(LOCAL, "1"),
        SentAs::Part => call.with_header(LOCAL, "1").with_header(PART, "1"),
    }
}

/// The context of a request that is made here for answering another: it begins its way anew.
pub(crate) fn begun_anew(context: &Context) -> Context {
    let mut context = context.clone();
    context.headers.retain(|(name, _)| ![FORWARDED, LOCAL, PART].contains(&name.as_str()));
    context.caller = None;
    context.callee = None;
    context
}

/// The time for a peer, or for a wait, of `deadline`: a little less, so that its end can still be told in time.
pub(crate) fn time_for_peer(deadline: Duration) -> Duration {
    deadline - (deadline / 10).min(KEPT_BACK_MAX)
}

#[cfg(test)]
mod tests {
    use bowline_node::DeploymentId;

    use super::*;

    fn context(headers: &[&str], is_identified: bool) -> Context {
        let headers = headers.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect();
        let caller = is_identified.then(|| DeploymentId::new("s.example.com", "us"));
        Context { headers, caller, ..Context::default() }
    }

    #[test]
    fn only_deployments_are_believed() {
        for (header, hop) in [(FORWARDED, Hop::Forwarded), (LOCAL, Hop::Local), (PART, Hop::Part)] {
            assert_eq!(Hop::of(&context(&[header], true)), hop);
            assert_eq!(Hop::of(&context(&[header], false)), Hop::First);
        }
    }

    #[test]
    fn what_the_user_brought_goes_along_and_what_only_this_hop_is_about_does_not() {
        let context = context(&[TRACEPARENT, REQUEST_ID, "x-other", LOCAL], true);
        let call = carry(Call::unary("/p.S/M", Vec::new()), &context, SentAs::Forwarded);
        let names: Vec<_> = call.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [TRACEPARENT, REQUEST_ID, FORWARDED]);
    }

    #[test]
    fn a_request_made_here_is_one_of_nobody_else() {
        let inner = begun_anew(&context(&[FORWARDED, REQUEST_ID], true));
        assert_eq!(Hop::of(&inner), Hop::First);
        assert_eq!(inner.header(REQUEST_ID), Some("1"));
    }

    #[test]
    fn a_peer_gets_less_time_than_there_is() {
        assert_eq!(time_for_peer(Duration::from_secs(30)), Duration::from_millis(29_750));
        assert_eq!(time_for_peer(Duration::from_millis(100)), Duration::from_millis(90));
        assert_eq!(time_for_peer(Duration::ZERO), Duration::ZERO);
    }
}
