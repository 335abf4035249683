//! The token itself: a JWT with one algorithm and no options. Pure: the caller says what time it is.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::key::{KeyPair, PublicKey};
use crate::id::DeploymentId;

/// How long a token lives; none that says to live longer is believed.
pub const LIFE: Duration = Duration::from_secs(60);
/// How far apart the clocks of two deployments may be.
pub const LEEWAY: Duration = Duration::from_secs(30);
/// Longest token that is looked at, in bytes.
pub const TOKEN_BYTES_MAX: usize = 2_048;

/// The only algorithm.
const ALGORITHM: &str = "EdDSA";

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    /// Who calls.
    pub(super) iss: String,
    /// Who is called.
    pub(super) aud: String,
    /// Seconds since 1970.
    pub(super) iat: i64,
    pub(super) exp: i64,
    /// Generation of the calling deployment.
    pub(super) generation: u64,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// Why a token proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unproved {
    #[error("the caller's proof is no token")]
    Malformed,
    #[error("the caller's proof is signed with a key that is not known here")]
    UnknownKey,
    #[error("the caller's proof is not signed by it")]
    Signature,
    #[error("the caller's proof is for another deployment")]
    Audience,
    #[error("the caller's proof has expired")]
    Expired,
    #[error("the caller's proof is from the future, or lives too long")]
    Times,
}

impl Claims {
    /// Claims that hold from `now`, in seconds since 1970.
    pub(super) fn new(from: &DeploymentId, to: &DeploymentId, now: i64, generation: u64) -> Self {
        let exp = now.saturating_add(seconds(LIFE));
        Self { iss: from.to_string(), aud: to.to_string(), iat: now, exp, generation }
    }

    /// Signs as `from`, whose key `key` is.
    pub(super) fn sign(&self, key: &KeyPair) -> String {
        let header =
            Header { alg: ALGORITHM.to_owned(), typ: "JWT".to_owned(), kid: self.iss.clone() };
        let mut token = format!("{}.{}", part(&header), part(self));
        let signature = URL_SAFE_NO_PAD.encode(key.sign(token.as_bytes()));
        token.push('.');
        token.push_str(&signature);
        token
    }

    /// Whether they hold at `now`, for a callee that is `is_me`.
    pub(super) fn judge(&self, now: i64, is_me: impl FnOnce(&str) -> bool) -> Result<(), Unproved> {
        if !is_me(&self.aud) {
            return Err(Unproved::Audience);
        }
        if now > self.ends() {
            return Err(Unproved::Expired);
        }
        let life = self.exp.checked_sub(self.iat).ok_or(Unproved::Times)?;
        let is_early = self.iat > now.saturating_add(seconds(LEEWAY));
        if is_early || life < 0 || life > seconds(LIFE) {
            return Err(Unproved::Times);
        }
        Ok(())
    }

    /// The last second at which they are believed.
    pub(super) fn ends(&self) -> i64 {
        self.exp.saturating_add(seconds(LEEWAY))
    }
}

/// A token in its parts, of which nothing is believed yet.
#[derive(Debug)]
pub(super) struct Unverified<'a> {
    /// Who it says has signed it.
    pub(super) signer: DeploymentId,
    signed: &'a str,
    claims: &'a str,
    signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    pub(super) fn parse(token: &'a str) -> Result<Self, Unproved> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Unproved::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Unproved::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Unproved::Malformed)?;
        let header: Header = of_part(header)?;
        let signer = header.kid.parse().map_err(|_| Unproved::Malformed)?;
        if header.alg != ALGORITHM {
            return Err(Unproved::Malformed);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Unproved::Malformed)?;
        Ok(Self { signer, signed, claims, signature })
    }

    /// What the token says, if `key` has signed it, and says it of the key's owner.
    pub(super) fn verify(&self, key: &PublicKey) -> Result<Claims, Unproved> {
        if !key.verifies(self.signed.as_bytes(), &self.signature) {
            return Err(Unproved::Signature);
        }
        let claims: Claims = of_part(self.claims)?;
        if claims.iss != self.signer.to_string() {
            return Err(Unproved::Signature);
        }
        Ok(claims)
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn part(value: &impl Serialize) -> String {
    let json = serde_json::to_vec(value).expect("structs of texts and numbers are JSON");
    URL_SAFE_NO_PAD.encode(json)
}

fn of_part<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, Unproved> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| Unproved::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| Unproved::Malformed)
}

#[cfg(test)]
mod tests {
    use bowline_base::Seams;
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn id(text: &str) -> DeploymentId {
        text.parse().unwrap()
    }

    fn token(key: &KeyPair) -> String {
        Claims::new(&id("a.example.com@eu"), &id("b.example.com@us"), NOW, 3).sign(key)
    }

    fn judged(token: &str, key: &PublicKey, now: i64) -> Result<Claims, Unproved> {
        let claims = Unverified::parse(token)?.verify(key)?;
        claims.judge(now, |aud| aud == "b.example.com@us")?;
        Ok(claims)
    }

    #[test]
    fn a_token_is_a_jwt_that_says_who_calls_whom() {
        let (key, _) = KeyPair::generate(&Seams::real());
        let token = token(&key);
        let parts: Vec<_> = token.split('.').collect();
        let text = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        expect_test::expect![[
            r#"{"alg":"EdDSA","typ":"JWT","kid":"a.example.com@eu"} {"iss":"a.example.com@eu","aud":"b.example.com@us","iat":1800000000,"exp":1800000060,"generation":3}"#
        ]]
        .assert_eq(&format!("{} {}", text(parts[0]), text(parts[1])));
        assert_eq!(judged(&token, &key.public(), NOW).unwrap().generation, 3);
    }

    #[test]
    fn a_token_holds_for_its_life_and_the_leeway_of_clocks_and_not_longer() {
        let (key, _) = KeyPair::generate(&Seams::real());
        let (token, public) = (token(&key), key.public());
        let at = |now: i64| judged(&token, &public, now).map(|_| ());
        assert_eq!(at(NOW - 30), Ok(()));
        assert_eq!(at(NOW - 31), Err(Unproved::Times));
        assert_eq!(at(NOW + 90), Ok(()));
        assert_eq!(at(NOW + 91), Err(Unproved::Expired));
    }

    #[test]
    fn nobody_gives_itself_a_token_for_a_year() {
        let (key, _) = KeyPair::generate(&Seams::real());
        let mut claims = Claims::new(&id("a@eu"), &id("b.example.com@us"), NOW, 0);
        claims.exp += 1;
        assert_eq!(judged(&claims.sign(&key), &key.public(), NOW), Err(Unproved::Times));
        (claims.iat, claims.exp) = (i64::MIN, i64::MAX);
        assert_eq!(judged(&claims.sign(&key), &key.public(), NOW), Err(Unproved::Times));
    }

    #[test]
    fn a_token_signed_by_one_deployment_says_nothing_of_another() {
        let (key, _) = KeyPair::generate(&Seams::real());
        let claims = Claims::new(&id("a.example.com@eu"), &id("b.example.com@us"), NOW, 3);
        let header = Header { alg: "EdDSA".into(), typ: "JWT".into(), kid: "other@eu".into() };
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()));
        let token = format!("{signed}.{signature}");
        assert_eq!(judged(&token, &key.public(), NOW), Err(Unproved::Signature));
    }

    proptest! {
        #[test]
        fn a_token_with_any_byte_changed_is_refused(at in 0usize..400, byte in 0u8..128) {
            let (key, _) = KeyPair::generate(&Seams::real());
            let token = token(&key);
            let mut bytes = token.clone().into_bytes();
            let at = at % bytes.len();
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            let changed = String::from_utf8(bytes).unwrap();
            prop_assert!(judged(&changed, &key.public(), NOW).is_err(), "{}", changed);
        }

        #[test]
        fn another_key_another_time_and_another_callee_are_refused(offset in 91i64..1_000_000_000) {
            let (key, _) = KeyPair::generate(&Seams::real());
            let (other, _) = KeyPair::generate(&Seams::real());
            let token = token(&key);
            prop_assert_eq!(judged(&token, &other.public(), NOW), Err(Unproved::Signature));
            prop_assert_eq!(judged(&token, &key.public(), NOW + offset), Err(Unproved::Expired));
            prop_assert_eq!(judged(&token, &key.public(), NOW - offset), Err(Unproved::Times));
            let claims = Unverified::parse(&token).unwrap().verify(&key.public()).unwrap();
            prop_assert_eq!(claims.judge(NOW, |_| false), Err(Unproved::Audience));
        }

        #[test]
        fn no_text_panics(text in ".{0,200}", dots in "[A-Za-z0-9_.-]{0,200}") {
            let (key, _) = KeyPair::generate(&Seams::real());
            for text in [text, dots] {
                prop_assert!(judged(&text, &key.public(), NOW).is_err());
            }
        }
    }
}
