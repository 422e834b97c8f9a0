import { XosError } from '../../core/errors.ts';
import type { Constraint } from '../rss/index.ts';

/**
 * A query as people write it: conditions separated by ',' or 'and', all of which must hold. `near NODE within 20ms` needs to know where that node
 * is: the caller puts its coordinates in.
 */
export type Condition = Exclude<Constraint, { kind: 'near' }> | { readonly kind: 'near'; readonly node: string; readonly within_ms: number };

const characters_max = 2_048;
const conditions_max = 32;
const values_max = 64;
const units: Readonly<Record<string, number>> = {
  '': 1, K: 1e3, M: 1e6, G: 1e9, T: 1e12, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40, PiB: 2 ** 50, KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12, ms: 1, s: 1e3,
};

interface Token {
  readonly text: string;
  /** In quotes: never a number, a keyword or a sign. */
  readonly quoted: boolean;
  readonly at: number;
}

const fail = (source: string, at: number, what: string): XosError =>
  new XosError('XOS_BAD_QUERY', `query '${source.slice(0, 200)}' is not valid at character ${at}: ${what}`, { at });

function tokensOf(source: string): readonly Token[] {
  if (source.length > characters_max) throw fail(source, characters_max, `it is longer than ${characters_max} characters`);
  const tokens: Token[] = [];
  // A value without quotes may hold what names of systems hold: letters, digits and _ - . / : @ and, inside braces, blanks.
  const pattern = /\s*(?:'([^']*)'|"([^"]*)"|(\.\.|<=|>=|!=|==|[=<>{},])|((?:(?!\.\.)[\w./:@+-])+))/y;
  for (let from = 0; source.slice(from).trim() !== ''; from = pattern.lastIndex) {
    pattern.lastIndex = from;
    const at = from + source.slice(from).length - source.slice(from).trimStart().length + 1;
    const match = pattern.exec(source);
    if (match === null) throw fail(source, at, /['"]/.test(source[at - 1]!) ? 'this text has no closing quote' : `'${source[at - 1]}' has no meaning here`);
    const [, single, double, sign, word] = match;
    tokens.push({ text: single ?? double ?? sign ?? word ?? '', quoted: (single ?? double) !== undefined, at });
  }
  return tokens;
}

class Parser {
  readonly #source: string;
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(source: string) {
    this.#source = source;
    this.#tokens = tokensOf(source);
  }

  whole(): readonly Condition[] {
    const conditions: Condition[] = [];
    const ranges = new Map<string, Range>();
    while (this.#next !== null) {
      if (conditions.length > 0 && !this.#take(',') && !this.#take('and')) throw this.#expected("',' or 'and'");
      if (conditions.length >= conditions_max) throw this.#expected(`at most ${conditions_max} conditions`);
      const at = this.#next?.at ?? 0;
      const condition = this.#condition();
      conditions.push(condition);
      if (condition.kind !== 'range') continue;
      const common = both(ranges.get(condition.attribute) ?? condition, condition);
      if (common.low > common.high || (common.low === common.high && (common.low_open || common.high_open))) throw fail(this.#source, at, `no '${condition.attribute}' can be all that this and the conditions before it ask for`);
      ranges.set(condition.attribute, common);
    }
    return conditions;
  }

  get #next(): Token | null {
    return this.#tokens[this.#at] ?? null;
  }

  #expected(what: string): XosError {
    const next = this.#next;
    return fail(this.#source, next?.at ?? this.#source.length + 1, `${what} is expected${next === null ? ', and it ends here' : `, not '${next.text}'`}`);
  }

  #take(text: string): boolean {
    const next = this.#next;
    if (next === null || next.quoted || next.text !== text) return false;
    this.#at++;
    return true;
  }

  #word(what: string): string {
    const next = this.#next;
    if (next === null || (!next.quoted && /^(?:\.\.|[<>=!{},]+)$/.test(next.text))) throw this.#expected(what);
    this.#at++;
    return next.text;
  }

  #condition(): Condition {
    if (this.#take('near')) return this.#near();
    const at = this.#next?.at ?? 0;
    const attribute = this.#word('an attribute');
    if (!/^[a-z][a-z0-9_.-]*$/.test(attribute)) throw fail(this.#source, at, `'${attribute}' is no name of an attribute: small letters, digits and _ . -`);
    if (this.#take('in')) return this.#take('{') ? { kind: 'in', attribute, values: this.#values() } : this.#range(attribute);
    if (this.#take('has')) return { kind: 'has', attribute, member: this.#word('a member of the set') };
    if (this.#take('=') || this.#take('==')) return { kind: 'in', attribute, values: [this.#value()] };
    if (this.#take('!=')) return { kind: 'not', attribute, values: [this.#value()] };
    const range = { kind: 'range', attribute, low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY, low_open: false, high_open: false } as const;
    if (this.#take('>=')) return { ...range, low: this.#number() };
    if (this.#take('>')) return { ...range, low: this.#number(), low_open: true };
    if (this.#take('<=')) return { ...range, high: this.#number() };
    if (this.#take('<')) return { ...range, high: this.#number(), high_open: true };
    throw this.#expected(`after '${attribute}' one of = != < <= > >= in has`);
  }

  #near(): Condition {
    const node = this.#word('a node');
    if (!this.#take('within')) throw this.#expected("'within'");
    const at = this.#next?.at ?? 0;
    const within_ms = this.#number();
    if (within_ms < 0) throw fail(this.#source, at, 'nothing is nearer than 0ms');
    return { kind: 'near', node, within_ms };
  }

  #range(attribute: string): Condition {
    const at = this.#next?.at ?? 0;
    const low = this.#number();
    if (!this.#take('..')) throw this.#expected("'..'");
    const high = this.#number();
    if (low > high) throw fail(this.#source, at, 'the range is empty: it ends before it begins');
    return { kind: 'range', attribute, low, high, low_open: false, high_open: false };
  }

  #values(): readonly (number | string)[] {
    const values = [this.#member()];
    while (this.#take(',')) {
      if (values.length >= values_max) throw this.#expected(`at most ${values_max} values`);
      values.push(this.#member());
    }
    if (!this.#take('}')) throw this.#expected("',' or '}'");
    return values;
  }

  /** Words up to the next comma: `{Debian GNU/Linux, Ubuntu}`. */
  #member(): number | string {
    const first = this.#value();
    let text = String(first);
    let one = true;
    while (this.#next !== null && !this.#next.quoted && !/^(?:\.\.|[<>=!{},]+)$/.test(this.#next.text)) {
      text += ` ${this.#next.text}`;
      one = false;
      this.#at++;
    }
    return one ? first : text;
  }

  #value(): number | string {
    const next = this.#next;
    const word = this.#word('a value');
    return next?.quoted === true ? word : (numberOf(word) ?? word);
  }

  #number(): number {
    const at = this.#next?.at ?? this.#source.length + 1;
    const word = this.#word('a number');
    const number = numberOf(word);
    if (number === null) throw fail(this.#source, at, `'${word}' is no number with one of the units ${Object.keys(units).filter((unit) => unit !== '').join(' ')}`);
    return number;
  }
}

type Range = Extract<Condition, { kind: 'range' }>;

/** What is in both ranges; its bound is open where that of the narrower one is. */
function both(a: Range, b: Range): Range {
  const [lower, upper] = [a.low > b.low || (a.low === b.low && a.low_open) ? a : b, a.high < b.high || (a.high === b.high && a.high_open) ? a : b];
  return { ...a, low: lower.low, low_open: lower.low_open, high: upper.high, high_open: upper.high_open };
}

/** Null also for digits beyond what a number can be. */
function numberOf(word: string): number | null {
  const match = /^([+-]?[0-9]+(?:\.[0-9]+)?)([A-Za-z]*)$/.exec(word);
  const value = match === null || !Object.hasOwn(units, match[2]!) ? Number.NaN : Number(match[1]) * units[match[2]!]!;
  return Number.isFinite(value) ? value : null;
}

/** Throws XOS_BAD_QUERY with the place of the error. An empty text is a query for every node. */
export function parseQuery(source: string): readonly Condition[] {
  return new Parser(source).whole();
}
