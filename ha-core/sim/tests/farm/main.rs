//! Farms: the schedules that broke earlier versions of `CONTRACT-FARM.md`, each under the name that
//! the contract gives it; an isolation of an hour; seeds that failed once; random histories.

mod isolated_for_an_hour;
mod pinned;
mod random;
mod schedules;
mod schedules_of_connections;
