//! The policy store: which policy governs a place, and who owns it.
//!
//! Policies of holders are kept in memory by watches of the holders in every deployment of their service (`mirror`), so
//! that a warm answer costs no I/O. What the watches do not know is read from the holder's owner (`read`) and believed until
//! they catch up (`cold`); so is the policy of a holder whose deletion has committed and is not finished, which still counts
//! for what is below it. Ownership rows of this deployment go before both. Policies of services are in the picture.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use async_trait::async_trait;
use bowline_base::{Detail, Reason, Seams, Status, chain};
use bowline_schema::model::Registry;
use tokio::sync::watch;

use crate::id::DeploymentId;
use crate::mirror::{Mirror, MirrorParts};
use crate::owners::{Owner, Owners};
use crate::ownership::{FIRST_EPOCH, Ownership};
use crate::peers::Peers;
use crate::picture::Picture;
use crate::place::{Holder, Holders, Part, Parts, Place, Places, Scope};
use crate::policy::Policy;

mod cold;
mod interner;
mod kind;
mod read;

use cold::Cold;
use interner::Interner;
use kind::HolderKind;

/// Most policy holders that are kept in memory, of each kind; some 200 bytes each.
pub const HOLDERS_MAX: usize = 200_000;

/// What a [`PolicyStore`] is made of.
pub struct PolicyStoreParts {
    /// Where the deployments are that ask.
    pub region: Arc<str>,
    /// The services that are deployed here; their types say which holders matter.
    pub services: Vec<Arc<str>>,
    pub registry: Arc<Registry>,
    pub picture: watch::Receiver<Arc<Picture>>,
    pub peers: Arc<dyn Peers>,
    pub seams: Seams,
}

/// Answers who owns what; see the module's header. One for all deployments of an engine.
pub struct PolicyStore {
    region: Arc<str>,
    /// On whose behalf policies are read.
    me: DeploymentId,
    picture: watch::Receiver<Arc<Picture>>,
    peers: Arc<dyn Peers>,
    seams: Seams,
    kinds: BTreeMap<Arc<str>, Followed>,
    cold: Mutex<Cold>,
    /// By service.
    rows: RwLock<HashMap<Arc<str>, Arc<Ownership>>>,
}

/// The policy of a holder, as far as it is known here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    policy: Arc<Policy>,
    /// The holder is gone, and its deletion is not finished.
    is_deleting: bool,
}

impl Known {
    /// Of a holder that is there.
    fn active(policy: Arc<Policy>) -> Self {
        Self { policy, is_deleting: false }
    }

    /// Of a holder that is being deleted: the policy that it had.
    fn deleting(policy: Arc<Policy>) -> Self {
        Self { policy, is_deleting: true }
    }
}

/// A kind of holders, and what the watches know of them.
struct Followed {
    kind: HolderKind,
    /// `None` if the kind cannot be watched: every answer is read then.
    mirror: Option<Mirror<Arc<Policy>>>,
}

impl PolicyStore {
    /// Starts to watch the holders that resources of `services` can be below. Returns at once: what is not known yet is read.
    pub fn start(parts: PolicyStoreParts) -> Arc<Self> {
        let first = parts.services.first().cloned().unwrap_or_default();
        let me = DeploymentId::new(first, parts.region.clone());
        let interner = Interner::default();
        let kinds = holder_kinds(&parts.registry, &parts.services).into_iter().filter_map(|name| {
            let kind = HolderKind::of(&parts.registry, &name)?;
            let mirror = follow(&parts, &me, &kind, &interner);
            Some((name, Followed { kind, mirror }))
        });
        Arc::new(Self {
            kinds: kinds.collect(),
            region: parts.region,
            me,
            picture: parts.picture,
            peers: parts.peers,
            seams: parts.seams,
            cold: Mutex::default(),
            rows: RwLock::default(),
        })
    }

    /// Whether every holder that there is can be answered from memory: for a program that wants to say that it is warm.
    pub fn is_warm(&self) -> bool {
        self.kinds
            .values()
            .all(|followed| followed.mirror.as_ref().is_some_and(Mirror::is_complete))
    }

    /// The policy of a service, from the picture.
    fn service_policy(&self, service: &str) -> Result<Arc<Policy>, Status> {
        let picture = self.picture.borrow();
        match picture.services.get(service) {
            Some(info) if !info.policy.is_empty() => Ok(Arc::new(info.policy.clone())),
            _ => Err(Status::new(
                Reason::Unavailable,
                format!("the policy of {service} is not known here yet"),
            )
            .with_metadata("service", service)
            .with_metadata("region", &*self.region)),
        }
    }

    /// The policy of a holder. One that says none has that of its service.
    async fn holder_policy(&self, holder: &Holder) -> Result<Known, Status> {
        let followed = self.kinds.get(&holder.kind).ok_or_else(|| {
            let message = format!("{} holds no policies that are known here", holder.kind);
            Status::new(Reason::Internal, message)
        })?;
        let mirrored = followed.mirror.as_ref().and_then(|mirror| mirror.get(&holder.name));
        let mirrored = mirrored.map(|policy| Arc::clone(policy.as_ref()));
        let now = self.seams.clock.monotonic();
        let known = self.cold().answer(holder, mirrored.as_ref(), now);
        let known = match known {
            Some(known) => known,
            None => self.read_cold(followed, holder, mirrored).await?,
        };
        if known.policy.is_empty() {
            let policy = self.service_policy(&followed.kind.service)?;
            return Ok(Known { policy, ..known });
        }
        Ok(known)
    }

    /// Reads a policy from the owner of its holder. Where that cannot be reached, what it said last still counts: by the
    /// watches, or when it was read last.
    async fn read_cold(
        &self,
        followed: &Followed,
        holder: &Holder,
        mirrored: Option<Arc<Policy>>,
    ) -> Result<Known, Status> {
        let (is_known, asked) = {
            let cold = self.cold();
            (mirrored.is_some() || cold.has(holder), cold.releases())
        };
        let read = self.read_from_owner(&followed.kind, holder, is_known).await;
        let now = self.seams.clock.monotonic();
        match read {
            Ok(known) => {
                self.cold().note(holder.clone(), known.clone(), mirrored, (asked, now));
                Ok(known)
            }
            Err(status) if status.reason == Reason::ResourceNotFound => {
                self.cold().forget(holder);
                Err(missing(holder))
            }
            Err(status) => match mirrored {
                Some(policy) => Ok(Known::active(policy)),
                None => self.cold().keep(holder, now).ok_or(status),
            },
        }
    }

    async fn policy(&self, service: &str, holder: Option<&Holder>) -> Result<Known, Status> {
        match holder {
            Some(holder) => self.holder_policy(holder).await,
            None => self.service_policy(service).map(Known::active),
        }
    }

    fn rows_of(&self, service: &str) -> Option<Arc<Ownership>> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        rows.get(service).cloned()
    }

    fn cold(&self) -> MutexGuard<'_, Cold> {
        self.cold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The owner of a place that has this policy.
    fn owner_by(&self, rows: Option<&Ownership>, place: &Place, known: Known) -> Owner {
        let Known { policy, is_deleting } = known;
        let said = policy.owning_region(&place.part).clone();
        let claim = rows.and_then(|rows| rows.claim(place));
        let Some(claim) = claim else {
            return Owner { region: said, epoch: FIRST_EPOCH, policy, is_deleting };
        };
        // A place that is on its way here is ours only once the policy says so too; until then it is nobody's.
        let is_elsewhere = !claim.owner.is_empty() && claim.owner != self.region;
        let region = if is_elsewhere { claim.owner } else { said };
        Owner { region, epoch: claim.epoch, policy, is_deleting }
    }

    /// The regions in which `service` is deployed, or may be for all that is known.
    fn deployed(&self, service: &str) -> BTreeSet<Arc<str>> {
        let picture = self.picture.borrow();
        let possible = picture.regions.iter().filter(|_| !picture.is_whole);
        picture.regions_of(service).chain(possible).cloned().collect()
    }
}

#[async_trait]
impl Owners for PolicyStore {
    async fn owner(&self, service: &str, place: &Place) -> Result<Owner, Status> {
        let rows = self.rows_of(service);
        if let Some(rows) = &rows {
            rows.load().await.map_err(|error| unreadable(&error))?;
            let is_doubtful = self.cold().take_doubt(service, place);
            if is_doubtful {
                rows.refresh(place).await.map_err(|error| unreadable(&error))?;
            }
        }
        let known = self.policy(service, place.holder.as_ref()).await?;
        Ok(self.owner_by(rows.as_deref(), place, known))
    }

    async fn regions(&self, service: &str, scope: &Scope) -> Result<BTreeSet<Arc<str>>, Status> {
        let holder = match &scope.holders {
            Holders::One(holder) => Some(holder.clone()),
            Holders::None => None,
            Holders::Any => {
                return Ok(match &scope.parts {
                    Parts::One(Part::Region(region)) => BTreeSet::from([region.clone()]),
                    Parts::One(Part::Control) | Parts::All => self.deployed(service),
                });
            }
        };
        if let Parts::One(part) = &scope.parts {
            let owner = self.owner(service, &Place { holder, part: part.clone() }).await?;
            return Ok(BTreeSet::from([owner.region]));
        }
        let control = Place { holder, part: Part::Control };
        let owner = self.owner(service, &control).await?;
        let deployed = self.deployed(service);
        let enabled = owner.policy.enabled_regions.iter();
        let mut regions: BTreeSet<_> = enabled.filter(|r| deployed.contains(*r)).cloned().collect();
        regions.insert(owner.region);
        Ok(regions)
    }

    fn attach(&self, service: &str, rows: Arc<Ownership>) {
        let mut all = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(service.into(), rows);
    }

    fn released(&self, place: &Place) {
        self.cold().released(place);
    }

    fn is_settled(&self, place: &Place) -> bool {
        self.cold().is_settled(place)
    }

    fn doubt(&self, service: &str, place: &Place) {
        self.cold().doubt(service, place);
    }
}

/// The kinds of holders that resources of these services can be below.
fn holder_kinds(registry: &Registry, services: &[Arc<str>]) -> BTreeSet<Arc<str>> {
    let is_ours = |service: &str| services.iter().any(|ours| &**ours == service);
    let types = registry.all_types().filter(|ty| is_ours(&ty.service));
    let mut kinds: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut waiting: Vec<_> = types.cloned().collect();
    while let Some(ty) = waiting.pop() {
        for kind in Places::of_type(registry, &ty).holder_kinds() {
            // A holder's own owner has to be found as well, and it may be below another holder.
            if kinds.insert(kind.clone()) {
                waiting.extend(registry.types.get(&*kind).into_iter().flatten().cloned());
            }
        }
    }
    kinds
}

fn follow(
    parts: &PolicyStoreParts,
    me: &DeploymentId,
    kind: &HolderKind,
    interner: &Interner,
) -> Option<Mirror<Arc<Policy>>> {
    let method = kind.watch.clone()?;
    let (reader, interner) = (kind.watched.clone(), interner.clone());
    Some(Mirror::start(MirrorParts {
        me: me.clone(),
        method,
        fields: vec![kind.watched.path()],
        picture: parts.picture.clone(),
        peers: parts.peers.clone(),
        seams: parts.seams.clone(),
        entries_max: HOLDERS_MAX,
        decode: Arc::new(move |_, body| Ok(interner.intern(reader.decode(body)?))),
    }))
}

fn missing(holder: &Holder) -> Status {
    let singular = holder.kind.split_once('/').map_or(&*holder.kind, |(_, singular)| singular);
    let message = format!("{singular} \"{}\" does not exist", holder.name);
    Status::new(Reason::ResourceNotFound, message)
        .with(Detail::Resource { kind: holder.kind.to_string(), name: holder.name.to_string() })
        .with_metadata("kind", &*holder.kind)
        .with_metadata("name", &*holder.name)
}

fn unreadable(error: &bowline_store::StoreError) -> Status {
    tracing::warn!(error = %chain(error), "read ownership rows");
    Status::new(Reason::Unavailable, "the store does not say who owns what")
}
