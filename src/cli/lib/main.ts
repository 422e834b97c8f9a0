import { basename } from 'node:path';
import type { Call, Command, OptionSpecs, Stream } from './command.ts';
import { findSubcommand, parse, UsageError } from './parse.ts';

export type Io = {
  readonly out: Stream;
  readonly err: Stream;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
};

/** Runs the command when its file is the program: started by itself, or imported by a launcher that has the command's name. */
export async function runIfMain<O extends OptionSpecs>(meta: { readonly main: boolean }, command: Command<O>): Promise<void> {
  if (meta.main || basename(process.argv[1] ?? '') === command.name) await runMain(command);
}

/**
 * Runs a command as the main program: reads process.argv, sets the exit status, aborts on ^C and then dies of SIGINT as a shell
 * expects. A reader that goes away (`xps | head -1`) ends the program silently.
 */
export async function runMain<O extends OptionSpecs>(command: Command<O>): Promise<void> {
  const controller = new AbortController();
  const interrupt = (): void => {
    process.removeListener('SIGINT', interrupt);
    controller.abort(new DOMException('interrupted', 'AbortError'));
  };
  process.on('SIGINT', interrupt);
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => process.exit(process.exitCode ?? 1));
  const status = await runCommand(command as Command, process.argv.slice(2), {
    out: process.stdout, err: process.stderr, env: process.env, signal: controller.signal,
  });
  process.removeListener('SIGINT', interrupt);
  process.exitCode = status;
  if (controller.signal.aborted) process.kill(process.pid, 'SIGINT');
}

/**
 * Runs a command with given arguments and streams.
 * @returns its exit status: 0 done, 1 an error (told on `err`), 2 usage, 130 interrupted, or what the command chose
 */
export async function runCommand(root: Command, argv: readonly string[], io: Io): Promise<number> {
  const name = root.name;
  try {
    const found = findSubcommand(root, argv);
    const parsed = parse(found.command, found.argv);
    if (parsed.version) return await printVersion(name, io.out);
    if (parsed.help) {
      const { helpText } = await import('./help.ts');
      io.out.write(helpText(found.command, found.path, Math.min(io.out.columns ?? 80, 100)));
      return 0;
    }
    if (found.command.run === undefined) throw new UsageError('what to do is missing');
    const call: Call = {
      options: parsed.options, args: parsed.args, rest: parsed.rest, ...io,
      note: (text) => void io.err.write(`${name}: ${text}\n`),
      json: (value) => void io.out.write(`${JSON.stringify(value, null, 2)}\n`),
    };
    return (await found.command.run(call)) ?? 0;
  } catch (error) {
    return report(name, error, io);
  }
}

function report(name: string, error: unknown, io: Io): number {
  if (error instanceof UsageError) {
    io.err.write(`${name}: ${error.message}\nTry '${name} --help'.\n`);
    return 2;
  }
  if (io.signal.aborted && isAbort(error, io.signal)) return 130;
  const code = codeOf(error);
  const message = error instanceof Error ? error.message : String(error);
  // An error without a code of ours is a mistake in the program: say so, and give the developer the place on request.
  io.err.write(code === undefined ? `${name}: internal error: ${message}\n` : `${name}: ${message}\n`);
  if (io.env['XOS_DEBUG'] !== undefined && error instanceof Error) io.err.write(`${error.stack ?? ''}\n`);
  return 1;
}

function isAbort(error: unknown, signal: AbortSignal): boolean {
  return error === signal.reason || (error instanceof Error && (error.name === 'AbortError' || codeOf(error) === 'XOS_ABORTED'));
}

function codeOf(error: unknown): string | undefined {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return typeof code === 'string' && code.startsWith('XOS_') ? code : undefined;
}

async function printVersion(name: string, out: Stream): Promise<number> {
  const { version } = await import('./version.ts');
  out.write(`${name} (XtreemOS) ${version()}\n`);
  return 0;
}
