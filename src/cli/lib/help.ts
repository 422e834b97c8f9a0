import type { ArgumentSpec, Command, OptionSpec } from './command.ts';
import { wrap } from './text.ts';

/**
 * The text of `--help`.
 * @param path the words the user types, `xvo member add`
 * @param width columns of the terminal
 */
export function helpText(command: Command, path: string, width: number): string {
  const lines: string[] = [];
  for (const [index, line] of synopsis(command).entries()) lines.push(`${index === 0 ? 'Usage:' : '      '} ${path} ${line}`.trimEnd());
  lines.push('', ...wrap(capital(command.summary) + '.', width, ''));
  for (const paragraph of command.description) lines.push('', ...wrap(paragraph.replaceAll('`', ''), width, ''));
  if (command.subcommands !== undefined) {
    section(lines, 'Subcommands', command.subcommands.map((each) => [each.name, each.summary]), width);
  }
  const args = [...(command.arguments ?? []), ...(command.rest === undefined ? [] : [command.rest])];
  section(lines, 'Arguments', args.map((each) => [each.name, each.summary]), width);
  section(lines, 'Options', optionRows(command), width);
  if (command.examples !== undefined && command.examples.length > 0) {
    lines.push('', 'Examples:');
    for (const example of command.examples) lines.push(`  ${capital(example.text)}:`, `      ${example.line}`);
  }
  section(lines, 'Exit status', (command.exitStatus ?? []).map((each) => [each.status, each.meaning]), width);
  if (command.seeAlso !== undefined && command.seeAlso.length > 0) {
    lines.push('', ...wrap(`See also: ${command.seeAlso.map(([name, page]) => `${name}(${page})`).join(', ')}`, width, '          '));
  }
  return lines.join('\n') + '\n';
}

/** The synopsis lines without the command's name: the declared ones, or one made from options and arguments. */
export function synopsis(command: Command): readonly string[] {
  if (command.synopsis !== undefined) return command.synopsis;
  const words = Object.entries(command.options).map(([name, spec]) => `[${optionWord(name, spec)}]`);
  if (command.subcommands !== undefined) words.push('SUBCOMMAND …');
  for (const argument of command.arguments ?? []) words.push(argumentWord(argument));
  if (command.rest !== undefined) words.push(`[-- ${command.rest.name}]`);
  return [words.join(' ')];
}

/** `--node NODE`, `-q`. */
export function optionWord(name: string, spec: OptionSpec): string {
  return `--${name}${spec.kind === 'flag' ? '' : ` ${spec.value}`}`;
}

/** The options as rows of name and meaning, --help and --version last. */
export function optionRows(command: Command): readonly (readonly [string, string])[] {
  const rows = Object.entries(command.options).map(([name, spec]): readonly [string, string] =>
    [`${spec.short === undefined ? '    ' : `-${spec.short}, `}${optionWord(name, spec)}`, optionSummary(spec)]);
  return [...rows, ['-h, --help', 'print this text'], ['    --version', 'print the version']];
}

/** The meaning of an option with its unit, range and choices. */
export function optionSummary(spec: OptionSpec): string {
  if (spec.kind === 'number' && spec.unit !== undefined) return `${spec.summary} (${spec.unit})`;
  if (spec.kind === 'text' && spec.choices !== undefined) return `${spec.summary} (${spec.choices.join(', ')})`;
  if (spec.kind === 'list') return `${spec.summary} (may be repeated)`;
  return spec.summary;
}

function argumentWord(argument: ArgumentSpec): string {
  const word = argument.name + (argument.repeated ? '…' : '');
  return argument.optional ? `[${word}]` : word;
}

function section(lines: string[], title: string, rows: readonly (readonly [string, string])[], width: number): void {
  if (rows.length === 0) return;
  lines.push('', `${title}:`);
  const column = Math.min(28, Math.max(...rows.map(([name]) => name.length)) + 4);
  for (const [name, text] of rows) {
    const [first = '', ...more] = wrap(text, width - column, '');
    if (name.length + 4 > column) lines.push(`  ${name}`, `${' '.repeat(column)}${first}`);
    else lines.push(`  ${name.padEnd(column - 2)}${first}`);
    for (const line of more) lines.push(' '.repeat(column) + line);
  }
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
