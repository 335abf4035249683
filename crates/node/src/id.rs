//! Which deployment: a service in a region.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// One service in one region; cheap to clone. Written `devices.example.com@eu-west`; where there are no regions, the service
/// alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeploymentId {
    /// Domain name of the service.
    pub service: Arc<str>,
    pub region: Arc<str>,
}

/// A text that is no [`DeploymentId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected SERVICE@REGION, such as devices.example.com@eu-west")]
pub struct ParseError;

impl DeploymentId {
    pub fn new(service: impl Into<Arc<str>>, region: impl Into<Arc<str>>) -> Self {
        Self { service: service.into(), region: region.into() }
    }

    /// The deployment of another service in the same region.
    pub fn of(&self, service: &str) -> Self {
        Self::new(service, self.region.clone())
    }
}

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.region {
            "" => f.write_str(&self.service),
            region => write!(f, "{}@{region}", self.service),
        }
    }
}

impl FromStr for DeploymentId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text.split_once('@') {
            Some((service, region)) if !service.is_empty() && !region.is_empty() => {
                Ok(Self::new(service, region))
            }
            _ => Err(ParseError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_is_written_with_its_region_if_there_are_regions() {
        assert_eq!(DeploymentId::new("a.test", "eu").to_string(), "a.test@eu");
        assert_eq!(DeploymentId::new("a.test", "").to_string(), "a.test");
        assert_eq!("a.test@eu".parse(), Ok(DeploymentId::new("a.test", "eu")));
        assert_eq!("a.test".parse::<DeploymentId>(), Err(ParseError));
    }
}
