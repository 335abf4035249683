//! A fleet in a world: a process per region with the real engine over simulated disks and lines, as a program assembles it.
//!
//! What a fleet knows of itself (the picture) is handed to processes by the world, as late and as old as it likes. `client`
//! is how requests get in.

pub mod client;
mod door;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bowline_api::engine::{Engine, Parts};
use bowline_api::limits::Limits;
use bowline_api::routing::Routing;
use bowline_node::picture::{DeploymentInfo, ServiceInfo};
use bowline_node::{DeploymentId, Picture, Policy, PolicyStore, PolicyStoreParts};
use bowline_store::Backend;
use tokio::sync::watch;

use crate::disk::{Disk, DiskFaults};
use crate::judge::Judge;
use crate::network::Network;
use crate::planted::Fault;
use crate::services::{APPS, DEVICES, IAM, IMPORTS, registry};
use crate::world::{ProcessId, World};
use door::{Door, Served};

/// The services of the fleet.
pub const SERVICES: [&str; 3] = [IAM, DEVICES, APPS];

/// A fleet; see the module's header.
pub struct Fleet {
    pub world: World,
    pub network: Network,
    pub judge: Arc<Judge>,
    regions: Vec<String>,
    disks: BTreeMap<DeploymentId, Arc<Disk>>,
    running: Mutex<BTreeMap<String, Running>>,
    picture: Mutex<Arc<Picture>>,
}

/// What runs in a region.
struct Running {
    process: ProcessId,
    engine: Arc<Engine>,
    picture: watch::Sender<Arc<Picture>>,
}

impl Fleet {
    /// A fleet of all services in all `regions`, nothing running yet; the first region is in control of what is under no
    /// project.
    pub fn new(world: &World, regions: &[&str]) -> Arc<Self> {
        Self::planted(world, regions, None)
    }

    /// The same with something wrong.
    pub fn planted(world: &World, regions: &[&str], planted: Option<Fault>) -> Arc<Self> {
        let control = regions.first().copied().unwrap_or_default();
        let controls = SERVICES.iter().map(|s| ((*s).to_owned(), control.to_owned())).collect();
        let judge = Judge::new(world, controls);
        let picture = picture(regions, control);
        let disks = picture.deployments.keys().map(|id| {
            let disk = Disk::new(world, id.to_string(), Some(judge.clone()), planted);
            (id.clone(), disk)
        });
        let disks: BTreeMap<_, _> = disks.collect();
        judge.watch(disks.values().cloned().collect());
        let network = Network::planted(world, planted);
        let names = judge.clone();
        network.look_up(Arc::new(move |version, kind, name| names.uid(version, kind, name)));
        Arc::new(Self {
            world: world.clone(),
            network,
            regions: regions.iter().map(|region| (*region).to_owned()).collect(),
            disks,
            judge,
            running: Mutex::default(),
            picture: Mutex::new(Arc::new(picture)),
        })
    }

    pub fn regions(&self) -> &[String] {
        &self.regions
    }

    pub fn disks(&self) -> impl Iterator<Item = &Arc<Disk>> {
        self.disks.values()
    }

    pub fn set_disk_faults(&self, faults: DiskFaults) {
        self.disks.values().for_each(|disk| disk.set_faults(faults));
    }

    /// Starts the process of a region, in place of the one that runs there.
    pub fn start(&self, region: &str) {
        self.start_with(region, self.picture());
    }

    fn start_with(&self, region: &str, picture: Arc<Picture>) {
        self.crash(region);
        let process = self.world.start_process(region);
        let (picture, known) = watch::channel(picture);
        let engine = self.engine(region, process, known);
        let served: Vec<_> = SERVICES.iter().map(|s| DeploymentId::new(*s, region)).collect();
        let door = Arc::new(Door { engine: engine.clone() });
        for id in served {
            self.network.listen(id, region, process, door.clone());
        }
        self.running().insert(region.to_owned(), Running { process, engine, picture });
        self.world.note(format!("{region}: started"));
    }

    pub fn start_all(&self) {
        self.regions.iter().for_each(|region| self.start(region));
    }

    /// Ends the process of a region at once; its disks stay.
    pub fn crash(&self, region: &str) {
        let gone = self.running().remove(region);
        if let Some(gone) = gone {
            self.world.note(format!("{region}: crashed"));
            self.world.crash(gone.process);
        }
    }

    pub fn is_running(&self, region: &str) -> bool {
        self.running().contains_key(region)
    }

    /// Ends all processes, and lets go of them.
    pub fn stop(&self) {
        self.regions.iter().for_each(|region| self.crash(region));
        self.network.forget_all();
        self.judge.watch(Vec::new());
    }

    /// Starts a region's process anew with a picture in which it is alone, and shows it the others only after `lasts`.
    pub async fn restart_blind(&self, region: &str, lasts: Duration) {
        let own = |id: &DeploymentId, _: &mut Arc<DeploymentInfo>| &*id.region == region;
        let mut picture = (*self.picture()).clone();
        picture.deployments.retain(own);
        picture.is_whole = false;
        self.world.note(format!("{region}: knows of no others for {lasts:?}"));
        self.start_with(region, Arc::new(picture));
        self.world.sleep(lasts).await;
        self.tell(region);
    }

    /// Stops the process of a region from going on.
    pub fn pause(&self, region: &str) {
        if let Some(process) = self.process(region) {
            self.world.note(format!("{region}: paused"));
            self.world.pause(process);
        }
    }

    pub fn resume(&self, region: &str) {
        if let Some(process) = self.process(region) {
            self.world.note(format!("{region}: goes on"));
            self.world.resume(process);
        }
    }

    /// Makes the wall clock of a region's process jump.
    pub fn jump_clock(&self, region: &str, millis: i64) {
        if let Some(process) = self.process(region) {
            self.world.note(format!("{region}: the clock jumps by {millis} ms"));
            self.world.jump_clock(process, millis);
        }
    }

    /// Makes the wall clock of a region's process jump to where it is wrong by this much.
    pub fn set_clock(&self, region: &str, skew_millis: i64) {
        if let Some(process) = self.process(region) {
            self.world.note(format!("{region}: the clock is wrong by {skew_millis} ms"));
            self.world.set_clock(process, skew_millis);
        }
    }

    /// Changes the picture; who is told of it is another matter: see [`Fleet::tell`].
    pub fn redraw(&self, change: impl FnOnce(&mut Picture)) {
        let mut picture = self.picture.lock().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut picture));
    }

    /// Shows a region the picture as it is now.
    pub fn tell(&self, region: &str) {
        let picture = self.picture();
        if let Some(running) = self.running().get_mut(region) {
            running.picture.send_replace(picture);
        }
    }

    fn engine(
        &self,
        region: &str,
        process: ProcessId,
        picture: watch::Receiver<Arc<Picture>>,
    ) -> Arc<Engine> {
        let seams = self.world.seams(process);
        let peers = self.network.line(region, Arc::new(door::proof));
        let owners = PolicyStore::start(PolicyStoreParts {
            region: region.into(),
            services: SERVICES.iter().map(|service| (*service).into()).collect(),
            registry: registry(),
            picture: picture.clone(),
            peers: peers.clone(),
            seams: seams.clone(),
        });
        let routing = Routing { region: region.into(), owners, peers, picture };
        let parts = Parts {
            registry: registry(),
            limits: Limits::default(),
            seams,
            backends: self.backends(region, process),
            actions: HashMap::new(),
            hooks: HashMap::new(),
            routing: Some(Arc::new(routing)),
            callers: Some(Arc::new(Served { region: region.to_owned() })),
        };
        Engine::start(parts).expect("the registry has a disk for each service")
    }

    fn backends(&self, region: &str, process: ProcessId) -> HashMap<String, Arc<dyn Backend>> {
        let here = self.disks.iter().filter(|(id, _)| &*id.region == region);
        here.map(|(id, disk)| (id.service.to_string(), disk.mount(process))).collect()
    }

    fn process(&self, region: &str) -> Option<ProcessId> {
        self.running().get(region).map(|running| running.process)
    }

    fn picture(&self) -> Arc<Picture> {
        self.picture.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn picture(regions: &[&str], control: &str) -> Picture {
    let known = regions.iter().map(|region| (*region).into()).collect();
    let mut picture = Picture { regions: known, is_whole: true, ..Picture::default() };
    for service in SERVICES {
        let mut info = ServiceInfo {
            policy: Policy::new(control, regions.iter().copied()),
            generation: 1,
            ..ServiceInfo::default()
        };
        for (_, version, imports) in IMPORTS.iter().filter(|(of, ..)| *of == service) {
            info.versions.push((*version).into());
            for (imported, theirs) in *imports {
                info.imports.insert((*imported).into());
                let import = ((*version).into(), (*imported).into());
                info.imported_versions.insert(import, (*theirs).into());
            }
        }
        picture.services.insert(service.into(), Arc::new(info));
        for region in regions {
            let info = DeploymentInfo {
                current_version: "v1".into(),
                generation: 1,
                ..DeploymentInfo::default()
            };
            picture.deployments.insert(DeploymentId::new(service, *region), Arc::new(info));
        }
    }
    picture
}
