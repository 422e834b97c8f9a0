import { parseArgs, type ParseArgsOptionsConfig } from 'node:util';
import type { Command, OptionSpec, OptionSpecs, OptionValues } from './command.ts';

/** The command line was not understood: exit status 2. */
export class UsageError extends Error {
  readonly code = 'XOS_USAGE';
}

export type Parsed<O extends OptionSpecs> = {
  readonly options: OptionValues<O>;
  readonly args: readonly string[];
  readonly rest: readonly string[];
  readonly help: boolean;
  readonly version: boolean;
};

/**
 * Finds the subcommand that the first words name; the longest name wins.
 * @returns the command itself, and all arguments, when it has no subcommands
 * @throws UsageError when it has some and none is named (except for --help and --version)
 */
export function findSubcommand(command: Command, given: readonly string[]): { command: Command; argv: readonly string[]; path: string } {
  if (command.subcommands === undefined) return { command, argv: given, path: command.name };
  const argv = command.normalize?.(given) ?? given;
  let best: Command | undefined;
  let length = 0;
  for (const candidate of command.subcommands) {
    const words = candidate.name.split(' ');
    if (words.length > length && words.every((word, index) => argv[index] === word)) [best, length] = [candidate, words.length];
  }
  if (best !== undefined) return { command: best, argv: argv.slice(length), path: `${command.name} ${best.name}` };
  const first = argv[0];
  if (first === undefined && command.run !== undefined) return { command, argv, path: command.name };
  if (first?.startsWith('-')) return { command, argv, path: command.name };
  throw new UsageError(first === undefined
    ? `what to do is missing: ${nameAll(command.subcommands)}`
    : `unknown subcommand '${subcommandWords(command.subcommands, argv)}': there are ${nameAll(command.subcommands)}`);
}

/**
 * Parses the arguments of one command by its declaration.
 * @throws UsageError that says which argument is wrong and how it should be
 */
export function parse<O extends OptionSpecs>(command: Command<O>, rawArgv: readonly string[]): Parsed<O> {
  const argv = command.normalize?.(rawArgv) ?? rawArgv;
  const raw = parseRaw(command, argv);
  const terminator = raw.tokens.find((token) => token.kind === 'option-terminator')?.index ?? argv.length;
  const args: string[] = [];
  const rest = command.rest === undefined ? [] : argv.slice(terminator + 1);
  for (const token of raw.tokens) {
    if (token.kind === 'positional' && (command.rest === undefined || token.index < terminator)) args.push(token.value);
  }
  const help = raw.values['help'] === true;
  const version = raw.values['version'] === true;
  const options: Record<string, unknown> = {};
  for (const [name, spec] of Object.entries(command.options)) options[name] = convert(name, spec, raw.values[name]);
  if (!help && !version) checkArguments(command, args);
  return { options: options as OptionValues<O>, args, rest, help, version };
}

function parseRaw(command: Command, argv: readonly string[]) {
  const config: ParseArgsOptionsConfig = { help: { type: 'boolean', short: 'h' }, version: { type: 'boolean' } };
  for (const [name, spec] of Object.entries(command.options)) {
    config[name] = {
      type: spec.kind === 'flag' ? 'boolean' : 'string',
      ...(spec.short === undefined ? {} : { short: spec.short }),
      ...(spec.kind === 'list' ? { multiple: true } : {}),
    };
  }
  try {
    return parseArgs({ args: [...argv], options: config, allowPositionals: true, tokens: true, strict: true });
  } catch (error) {
    throw new UsageError(explain(error), { cause: error });
  }
}

/** Node's messages are right but long ("To specify a positional argument starting with a '-', …"): the first sentence says it. */
function explain(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const unknown = /^Unknown option '([^']*)'/.exec(message);
  if (unknown !== null) return `unknown option '${unknown[1]}'`;
  const missing = /^Option '(.*?)(?: <value>)?' argument missing/.exec(message);
  if (missing !== null) return `option '${missing[1]}' needs a value`;
  const surplus = /^Option '(.*?)' does not take an argument/.exec(message);
  if (surplus !== null) return `option '${surplus[1]}' takes no value`;
  const ambiguous = /^Option '(.*?)(?: <value>)?' argument is ambiguous/.exec(message);
  if (ambiguous !== null) return `option '${ambiguous[1]}' needs a value; write '--option=-value' for one that starts with '-'`;
  return message;
}

function convert(name: string, spec: OptionSpec, value: unknown): unknown {
  if (spec.kind === 'flag') return value === true;
  if (spec.kind === 'list') return Array.isArray(value) ? value : [];
  if (typeof value !== 'string') return undefined;
  if (spec.kind === 'number') return convertNumber(name, spec, value);
  if (spec.choices !== undefined && !spec.choices.includes(value)) {
    throw new UsageError(`option '--${name}' is '${value}': it must be one of ${spec.choices.join(', ')}`);
  }
  return value;
}

function convertNumber(name: string, spec: Extract<OptionSpec, { kind: 'number' }>, text: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = spec;
  const good = Number.isFinite(value) && value >= min && value <= max && (!spec.integer || Number.isInteger(value));
  if (good) return value;
  const range = [Number.isFinite(min) ? `at least ${min}` : '', Number.isFinite(max) ? `at most ${max}` : ''].filter(Boolean).join(', ');
  const what = `${spec.integer ? 'a whole number' : 'a number'}${spec.unit === undefined ? '' : ` of ${spec.unit}`}`;
  throw new UsageError(`option '--${name}' is '${text}': it must be ${what}${range === '' ? '' : `, ${range}`}`);
}

function checkArguments(command: Command, args: readonly string[]): void {
  const specs = command.arguments ?? [];
  const required = specs.filter((spec) => !spec.optional).length;
  const missing = args.length < required ? specs.filter((spec) => !spec.optional)[args.length] : undefined;
  if (missing !== undefined) throw new UsageError(`argument ${missing.name} is missing: ${missing.summary}`);
  const surplus = specs.at(-1)?.repeated ? undefined : args[specs.length];
  if (surplus !== undefined) throw new UsageError(`unexpected argument '${surplus}'`);
}

const nameAll = (commands: readonly Command[]): string => commands.map((each) => each.name).join(', ');

/** The words of the command line that a subcommand's name could have been: as many as the longest group that starts alike. */
function subcommandWords(commands: readonly Command[], argv: readonly string[]): string {
  const group = commands.some((each) => each.name.split(' ').length > 1 && each.name.split(' ')[0] === argv[0]);
  return argv.slice(0, group ? 2 : 1).join(' ');
}
