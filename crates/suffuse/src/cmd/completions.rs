//! `suffuse completions SHELL`: a completion script on stdout.

use super::{Cli, Context};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use suffuse::Result;

/// Arguments of `completions`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  suffuse completions bash > ~/.local/share/bash-completion/completions/suffuse"
)]
pub(crate) struct CompletionsArgs {
    /// Shell to write the script for
    shell: Shell,
}

pub(super) fn run(arguments: &CompletionsArgs, context: &mut Context) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "suffuse", &mut script);
    context.talk.data(&String::from_utf8_lossy(&script))
}
