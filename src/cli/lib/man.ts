import type { Command, OptionSpec, PageReference } from './command.ts';
import { optionSummary, synopsis } from './help.ts';

/** A page that describes no command: a hand-written body below NAME. Lines of `body` are mdoc source. */
export type Page = {
  readonly name: string;
  readonly section: number;
  readonly summary: string;
  readonly body: readonly string[];
  readonly seeAlso: readonly PageReference[];
};

/** Changes only when the content of a page changes in meaning; mandoc and groff print it in the footer. */
const pageDate = 'November 22, 2026';

/** The manual page of a command in mdoc(7) source, made from its declaration. */
export function manPage(command: Command): string {
  const lines = [...head(command.name, command.section ?? 1, command.summary), '.Sh SYNOPSIS'];
  for (const line of synopsisLines(command)) lines.push(...line);
  lines.push('.Sh DESCRIPTION');
  for (const [index, paragraph] of command.description.entries()) lines.push(...(index > 0 ? ['.Pp'] : []), ...prose(paragraph));
  lines.push(...optionList(command));
  const args = [...(command.arguments ?? []), ...(command.rest === undefined ? [] : [command.rest])];
  if (args.length > 0) lines.push('.Pp', 'The arguments are:', ...tagged(args.map((each) => [`Ar ${escape(each.name)}`, each.summary])));
  for (const sub of command.subcommands ?? []) lines.push(...subcommand(sub));
  if (command.environment !== undefined) {
    lines.push('.Sh ENVIRONMENT', ...tagged(command.environment.map((each) => [`Ev ${each.name}`, each.summary])));
  }
  if (command.files !== undefined) lines.push('.Sh FILES', ...tagged(command.files.map((each) => [`Pa ${each.name}`, each.summary])));
  if (command.exitStatus !== undefined) {
    lines.push('.Sh EXIT STATUS', ...tagged(command.exitStatus.map((each) => [`Li ${each.status}`, each.meaning])));
  }
  if (command.examples !== undefined) {
    lines.push('.Sh EXAMPLES');
    for (const example of command.examples) lines.push('.Pp', ...prose(`${capital(example.text)}:`), '.Bd -literal -offset indent', literal(example.line), '.Ed');
  }
  return [...lines, ...seeAlso(command.seeAlso ?? [])].join('\n') + '\n';
}

/** The manual page of something that is no command: an overview, a file format. */
export function topicPage(page: Page): string {
  return [...head(page.name, page.section, page.summary), ...page.body, ...seeAlso(page.seeAlso)].join('\n') + '\n';
}

function head(name: string, section: number, summary: string): string[] {
  return [
    `.Dd ${pageDate}`, `.Dt ${name.toUpperCase()} ${section}`, '.Os XtreemOS',
    '.Sh NAME', `.Nm ${name}`, `.Nd ${escape(summary)}`,
  ];
}

function synopsisLines(command: Command): string[][] {
  if (command.subcommands !== undefined && command.synopsis === undefined) {
    return command.subcommands.flatMap((sub) => synopsis(sub).map((line) => ['.Nm', ...usageMacros(`${sub.name} ${line}`)]));
  }
  return synopsis(command).map((line) => ['.Nm', ...usageMacros(line)]);
}

/** Sets a usage line word by word: `[--json]` as a flag, NODE as an argument, other words as they are. */
function usageMacros(line: string): string[] {
  const words = line.split(/\s+/).filter((word) => word !== '');
  if (words.length === 0) return [];
  return [words.map((word) => {
    const text = escape(word);
    if (/^\[?-/.test(word)) return `\\fB${text}\\fR`;
    return /^\[?[A-Z]/.test(word) ? `\\fI${text}\\fR` : text;
  }).join(' ')];
}

function optionList(command: Command): string[] {
  const rows = Object.entries(command.options).map(([name, spec]): [string, string] => [optionTag(name, spec), optionSummary(spec)]);
  if (rows.length === 0) return [];
  return ['.Pp', 'The options are:', ...tagged(rows)];
}

function optionTag(name: string, spec: OptionSpec): string {
  const long = `Fl -${escape(name)}${spec.kind === 'flag' ? '' : ` Ar ${escape(spec.value)}`}`;
  return spec.short === undefined ? long : `Fl ${escape(spec.short)} , ${long}`;
}

function subcommand(sub: Command): string[] {
  const lines = [`.Ss ${escape(sub.name)}`, ...usageMacros(`${sub.name} ${synopsis(sub).join(' ')}`), '.Pp', ...prose(`${capital(sub.summary)}.`)];
  for (const paragraph of sub.description) lines.push('.Pp', ...prose(paragraph));
  return [...lines, ...optionList(sub)];
}

function tagged(rows: readonly (readonly [string, string])[]): string[] {
  return ['.Bl -tag -width Ds', ...rows.flatMap(([tag, text]) => [`.It ${tag}`, ...prose(text)]), '.El'];
}

function seeAlso(pages: readonly PageReference[]): string[] {
  if (pages.length === 0) return [];
  const sorted = [...pages].sort((a, b) => a[1] - b[1] || (a[0] < b[0] ? -1 : 1));
  return ['.Sh SEE ALSO', ...sorted.map(([name, section], index) => `.Xr ${name} ${section}${index < sorted.length - 1 ? ' ,' : ''}`)];
}

/** Running text: one sentence a line, `code` in bold; a line can't start a macro by accident. */
function prose(text: string): string[] {
  return text.split(/(?<=[.;:]) (?=[A-Z`])/).map((line) => {
    const set = escape(line).replace(/`([^`]*)`/g, '\\fB$1\\fR');
    return /^[.']/.test(set) ? `\\&${set}` : set;
  });
}

const literal = (line: string): string => (/^[.']/.test(line) ? `\\&${escape(line)}` : escape(line));

/** roff reads `\` as an escape and `-` as a hyphen; what one types needs the minus sign. */
const escape = (text: string): string => text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replaceAll('…', '...').replaceAll('–', '\\(en');

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
