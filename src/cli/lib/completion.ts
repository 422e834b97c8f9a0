import type { ArgumentSpec, Command, Completion, OptionSpec } from './command.ts';

/**
 * The bash completion of all commands in one file, for bash-completion's directory of lazily loaded files, under the name of each
 * command. What is known only at run time (jobs, nodes, volumes) is asked of the x-commands themselves, within two seconds.
 */
export function bashCompletion(commands: readonly Command[]): string {
  const names = commands.map((command) => command.name);
  return [
    '# Completion of the x-commands for bash. Generated from their declarations: npm run docs, or node src/cli/lib/generate.ts.',
    '',
    ...helperFunctions,
    '',
    ...commands.flatMap(commandFunction),
    ...names.map((name) => `complete -F _xos_${identifier(name)} ${name}`),
    '',
  ].join('\n');
}

const helperFunctions = [
  '_xos_words() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur"); }',
  '_xos_ask() { _xos_words "$(timeout 2 "$@" 2>/dev/null)"; }',
  '_xos_kind() {',
  '  case $1 in',
  '    job) _xos_ask xps --quiet ;;',
  '    node) _xos_ask xnode list --quiet ;;',
  '    volume) _xos_ask xvolume list --quiet ;;',
  '    checkpoint) _xos_ask xrestart --list --quiet ;;',
  "    signal) mapfile -t COMPREPLY < <(compgen -A signal -P '' -- \"SIG${cur#SIG}\") ;;",
  '    file) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;',
  '    directory) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;',
  '    command) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -A command -A file -- "$cur" | sort -u) ;;',
  '  esac',
  '}',
];

function commandFunction(command: Command): string[] {
  const lines = [
    `_xos_${identifier(command.name)}() {`,
    '  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} sub=',
    '  COMPREPLY=()',
  ];
  if (command.subcommands === undefined) return [...lines, ...body(command, '  '), '}', ''];
  lines.push('  case "${COMP_WORDS[*]:1:COMP_CWORD-1} " in');
  for (const sub of [...command.subcommands].sort((a, b) => b.name.length - a.name.length)) {
    lines.push(`    "${sub.name} "*)`, ...body(sub, '      '), '      return ;;');
  }
  return [...lines, '  esac', ...subcommandWords(command), '}', ''];
}

/** Names of subcommands may be two words: the second is offered after the first. */
function subcommandWords(command: Command): string[] {
  const second = new Map<string, string[]>();
  const first = new Set(['--help', '--version']);
  for (const sub of command.subcommands ?? []) {
    const [head = '', tail] = sub.name.split(' ');
    first.add(head);
    if (tail !== undefined) second.set(head, [...(second.get(head) ?? []), tail]);
  }
  return [
    '  case $COMP_CWORD:$prev in',
    `    1:*) _xos_words '${[...first].join(' ')}' ;;`,
    ...[...second].map(([head, tails]) => `    2:${head}) _xos_words '${tails.join(' ')}' ;;`),
    '  esac',
  ];
}

function body(command: Command, indent: string): string[] {
  const values = Object.entries(command.options).filter(([, spec]) => spec.kind !== 'flag');
  const lines: string[] = [];
  if (values.length > 0) {
    lines.push('case $prev in', ...values.map(([name, spec]) =>
      `  --${name}${spec.short === undefined ? '' : `|-${spec.short}`}) ${action(completionOf(spec))}; return ;;`), 'esac');
  }
  const options = [...Object.keys(command.options).map((name) => `--${name}`), '--help', '--version'];
  lines.push(`if [[ $cur == -* ]]; then _xos_words '${options.join(' ')}'; return; fi`);
  const argument = argumentCompletion(command.arguments ?? [], command.rest);
  if (argument !== 'none') lines.push(action(argument));
  return lines.map((line) => indent + line);
}

function completionOf(spec: OptionSpec): Completion {
  if (spec.kind === 'text') return spec.complete ?? spec.choices ?? 'none';
  return spec.kind === 'list' ? spec.complete ?? 'none' : 'none';
}

/** The first argument that can be completed serves them all: no x-command mixes kinds that matter. */
function argumentCompletion(args: readonly ArgumentSpec[], rest: ArgumentSpec | undefined): Completion {
  return [...args, ...(rest === undefined ? [] : [rest])].map((each) => each.complete ?? 'none').find((each) => each !== 'none') ?? 'none';
}

function action(completion: Completion): string {
  if (typeof completion !== 'string') return `_xos_words '${completion.join(' ')}'`;
  return completion === 'none' ? ':' : `_xos_kind ${completion}`;
}

const identifier = (name: string): string => name.replaceAll(/[^a-z0-9]/g, '_');
