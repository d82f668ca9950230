//! `suffuse`: fills in sparse biological tables with diffusion models.

mod allocator;
mod cmd;
mod talk;

use clap::{CommandFactory, FromArgMatches};
use cmd::{Cli, Context};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use suffuse::Error;
use suffuse_data::format::remove_unfinished;
use talk::{Talk, Volume};

/// Set by Ctrl-C or a request to end; looked at between steps.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// Says whether something runs that looks at [`INTERRUPTED`].
static IS_WATCHED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    allocator::keep_freed_pages();
    let matches = Cli::command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let volume = match (cli.global.quiet, cli.global.verbose) {
        (true, _) => Volume::Quiet,
        (_, true) => Volume::Verbose,
        _ => Volume::Normal,
    };
    let mut context = Context {
        talk: Talk::new(volume),
        json: cli.global.json,
        command: suffuse::provenance::command_line(std::env::args()),
        interrupted: &INTERRUPTED,
        is_watched: &IS_WATCHED,
    };
    match prepare(cli.global.threads).and_then(|()| cmd::run(&cli.command, &mut context)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            context.talk.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Sets up threads and what Ctrl-C and a request to end do.
fn prepare(n_threads: Option<usize>) -> suffuse::Result<()> {
    if let Some(n_threads) = n_threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .build_global()
            .map_err(|error| Error::Usage(format!("--threads {n_threads}: {error}")))?;
    }
    ctrlc::set_handler(interrupt)
        .map_err(|error| Error::Usage(format!("Ctrl-C cannot be caught: {error}")))?;
    #[cfg(unix)]
    {
        let mut requests = signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM])
            .map_err(|error| Error::Usage(format!("SIGTERM cannot be caught: {error}")))?;
        std::thread::spawn(move || requests.forever().for_each(|_| interrupt()));
    }
    Ok(())
}

/// Asks the work to stop at its next step; stops the process at once where nothing listens, and when asked again.
fn interrupt() {
    if INTERRUPTED.swap(true, Ordering::Relaxed) || !IS_WATCHED.load(Ordering::Relaxed) {
        remove_unfinished();
        std::process::exit(130);
    }
}
