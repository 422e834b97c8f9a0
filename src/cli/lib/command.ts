// What an x-command declares about itself. One declaration gives the parser, --help, the man page and the completion,
// so the four can't drift apart.

/** What the shell offers for a value: a kind that completion knows, or the words themselves. */
export type Completion = 'none' | 'file' | 'directory' | 'command' | 'job' | 'node' | 'signal' | 'volume' | 'checkpoint' | readonly string[];

type OptionBase = {
  /** One line, lower case, no full stop; names the unit if the value has one. */
  readonly summary: string;
  /** One character. */
  readonly short?: string;
};

/** A switch; false when not given. */
export type FlagOption = OptionBase & { readonly kind: 'flag' };
/** A value; undefined when not given. `choices` refuses anything else. */
export type TextOption = OptionBase & {
  readonly kind: 'text';
  readonly value: string;
  readonly choices?: readonly string[];
  readonly complete?: Completion;
};
/** A number within [min, max]; undefined when not given. `unit` is told in --help. */
export type NumberOption = OptionBase & {
  readonly kind: 'number';
  readonly value: string;
  readonly unit?: string;
  readonly min?: number;
  readonly max?: number;
  readonly integer?: boolean;
};
/** A value that may be given several times; an empty list when not given. */
export type ListOption = OptionBase & { readonly kind: 'list'; readonly value: string; readonly complete?: Completion };

export type OptionSpec = FlagOption | TextOption | NumberOption | ListOption;
export type OptionSpecs = Readonly<Record<string, OptionSpec>>;

export type OptionValue<S extends OptionSpec> = S extends FlagOption ? boolean
  : S extends ListOption ? readonly string[]
  : S extends NumberOption ? number | undefined
  : string | undefined;
export type OptionValues<O extends OptionSpecs> = { readonly [K in keyof O]: OptionValue<O[K]> };

/** A positional argument. */
export type ArgumentSpec = {
  readonly name: string;
  readonly summary: string;
  readonly optional?: boolean;
  readonly repeated?: boolean;
  readonly complete?: Completion;
};

export type Example = { readonly text: string; readonly line: string };
export type ExitStatus = { readonly status: string; readonly meaning: string };
/** Another manual page, `[xps, 1]`. */
export type PageReference = readonly [name: string, section: number];

/** Where a command prints; tests give their own. */
export type Stream = {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): boolean;
};

/** What a command gets when it runs. */
export type Call<O extends OptionSpecs = OptionSpecs> = {
  readonly options: OptionValues<O>;
  /** Positional arguments before `--`. */
  readonly args: readonly string[];
  /** Everything after `--`; empty when there is none. */
  readonly rest: readonly string[];
  readonly out: Stream;
  readonly err: Stream;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborts on ^C. Hand it to everything that waits. */
  readonly signal: AbortSignal;
  /** Prints `NAME: text` on stderr: something the user should know that is no error. */
  note(text: string): void;
  /** Prints one JSON document on stdout. */
  json(value: unknown): void;
};

export type Command<O extends OptionSpecs = OptionSpecs> = {
  /** `xps`; of a subcommand the words after the command, for instance `member add`. */
  readonly name: string;
  readonly section?: 1 | 8;
  /** One line, lower case, no full stop. */
  readonly summary: string;
  /** Paragraphs. `code` in backquotes is set as such in the man page. */
  readonly description: readonly string[];
  /** Lines without the command's name; worked out from options and arguments when absent. */
  readonly synopsis?: readonly string[];
  readonly options: O;
  readonly arguments?: readonly ArgumentSpec[];
  /** Whether `-- CMD ARG…` is taken; the text says what it is. */
  readonly rest?: ArgumentSpec;
  readonly subcommands?: readonly Command[];
  readonly examples?: readonly Example[];
  readonly exitStatus?: readonly ExitStatus[];
  readonly environment?: readonly { readonly name: string; readonly summary: string }[];
  readonly files?: readonly { readonly name: string; readonly summary: string }[];
  readonly seeAlso?: readonly PageReference[];
  /** Rewrites the raw arguments before they are parsed, for traditions like `kill -9`. */
  normalize?(argv: readonly string[]): readonly string[];
  /** Runs the command. Returns the exit status, 0 when nothing is returned. Absent: the program is not this one (man page and completion only). */
  run?(call: Call<O>): Promise<number | void>;
};

/** Keeps the option names of a declaration, so that `call.options` is typed by them. */
export const defineCommand = <const O extends OptionSpecs>(command: Command<O>): Command<O> => command;

/** The usual option of a command that prints data. */
export const jsonOption = { kind: 'flag', summary: 'print JSON instead of a table' } as const satisfies FlagOption;

/** The exit statuses that every x-command shares. */
export const commonExitStatus: readonly ExitStatus[] = [
  { status: '0', meaning: 'done' },
  { status: '1', meaning: 'it could not be done; the reason is on stderr' },
  { status: '2', meaning: 'the command line was not understood' },
];
