//! Arguments, configuration, then `app` or `cli`; nothing else.

use std::process::ExitCode;

use clap::Parser as _;
use realmgate::{
    app,
    cli::{self, Arguments, Command},
    config::Config,
    store::embedded,
    telemetry,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `EX_UNAVAILABLE` of sysexits.h: something the gateway needs is not there.
const UNAVAILABLE: u8 = 69;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    runtime.block_on(async {
        let outcome = match arguments.command {
            Command::Manage(command) => return cli::run(command).await,
            Command::Serve(serve) => match configured(serve.config.as_deref()) {
                Ok(config) => app::run(config, serve.ready_file).await,
                Err(error) => Err(error),
            },
            Command::Migrate(migrate) => match configured(migrate.config.as_deref()) {
                Ok(config) => app::migrate(&config).await,
                Err(error) => Err(error),
            },
        };
        outcome.map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
    })
}

fn configured(file: Option<&std::path::Path>) -> anyhow::Result<Config> {
    let config = Config::load(file)?;
    telemetry::start_logs(&config.log, config.log_format.is_json())?;
    for name in &config.unknown_variables {
        tracing::warn!(name, "this variable begins with REALMGATE_ and is none of the settings");
    }
    Ok(config)
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("realmgate: {error:#}");
    match error.downcast_ref::<embedded::Error>() {
        Some(embedded::Error::NotInstalled { .. }) => ExitCode::from(UNAVAILABLE),
        _ => ExitCode::FAILURE,
    }
}
