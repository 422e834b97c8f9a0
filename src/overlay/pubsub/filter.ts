import { XosError } from '../../core/errors.ts';
import { limits } from './limits.ts';

/**
 * Content filters: `state = ended and exit_code != 0`, `name ~ 'gcc*' or cpu_seconds in 60..3600`, `node in {n1, n2}, not exists error`.
 * A small language that ends: no functions, no loops, bounded length, depth and terms; matching `~` knows '*' and '?' only and is linear.
 * Fields are those of the message's JSON payload, dots go inside (`result.size`); `$topic`, `$node`, `$user` and `$size` are those of the
 * message itself. A comparison with a field that is not there, or is of another type, is false (and its `not` true).
 */
export type Scalar = string | number | boolean;

export type Filter =
  | { readonly kind: 'all' | 'any'; readonly terms: readonly Filter[] }
  | { readonly kind: 'not'; readonly term: Filter }
  | { readonly kind: 'exists'; readonly field: readonly string[] }
  | { readonly kind: 'compare'; readonly field: readonly string[]; readonly op: Comparison; readonly value: Scalar }
  | { readonly kind: 'range'; readonly field: readonly string[]; readonly from: number; readonly to: number }
  | { readonly kind: 'set'; readonly field: readonly string[]; readonly values: readonly Scalar[] }
  | { readonly kind: 'like'; readonly field: readonly string[]; readonly glob: string };

type Comparison = '=' | '!=' | '<' | '<=' | '>' | '>=';

interface Token {
  readonly kind: 'word' | 'text' | 'number' | 'sign' | 'end';
  readonly text: string;
  readonly number: number;
  /** First character, from 1. */
  readonly at: number;
}

const units: Readonly<Record<string, number>> = {
  '': 1, K: 1e3, M: 1e6, G: 1e9, T: 1e12, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40, ms: 1, s: 1e3, min: 6e4, h: 3.6e6, d: 8.64e7,
};
const token_pattern = /\s*(?:(-?\d+(?:\.\d+)?)([A-Za-z]*)|'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([$A-Za-z_][\w$@:/-]*(?:\.[\w$@:/-]+)*)|(\.\.|<=|>=|!=|==|&&|\|\||[=<>~(){},!]))/y;

const fail = (source: string, at: number, what: string): XosError =>
  new XosError('XOS_BAD_FILTER', `filter '${source.slice(0, 200)}' is not valid at character ${at}: ${what}`, { at });

function tokensOf(source: string): readonly Token[] {
  if (source.length > limits.filter_characters_max) throw fail(source, limits.filter_characters_max, `it is longer than ${limits.filter_characters_max} characters`);
  const tokens: Token[] = [];
  token_pattern.lastIndex = 0;
  for (let from = 0; source.slice(from).trim() !== ''; from = token_pattern.lastIndex) {
    token_pattern.lastIndex = from;
    const match = token_pattern.exec(source);
    const at = from + (source.slice(from).length - source.slice(from).trimStart().length) + 1;
    if (match === null) throw fail(source, at, /['"]/.test(source[at - 1]!) ? 'this text has no closing quote' : `'${source[at - 1]}' has no meaning here`);
    const [, digits, unit = '', single, double, word, sign] = match;
    const text = single ?? double;
    if (digits !== undefined) {
      if (!Object.hasOwn(units, unit)) {
        // `2a` or `10.0.0.1` is a name without quotes only when there is a letter: a bare number with a strange unit is a typing error.
        throw fail(source, at, `'${unit}' is no unit; there are ${Object.keys(units).filter((each) => each !== '').join(' ')}`);
      }
      tokens.push({ kind: 'number', text: digits + unit, number: Number(digits) * units[unit]!, at });
    } else if (text !== undefined) tokens.push({ kind: 'text', text: text.replace(/\\(.)/g, '$1'), number: 0, at });
    else if (word !== undefined) tokens.push({ kind: 'word', text: word, number: 0, at });
    else tokens.push({ kind: 'sign', text: sign!, number: 0, at });
  }
  tokens.push({ kind: 'end', text: '', number: 0, at: source.length + 1 });
  return tokens;
}

const keywords = ['and', 'or', 'not', 'in', 'exists', 'true', 'false'];

class Parser {
  readonly #source: string;
  readonly #tokens: readonly Token[];
  #at = 0;
  #terms = 0;

  constructor(source: string) {
    this.#source = source;
    this.#tokens = tokensOf(source);
  }

  whole(): Filter {
    if (this.#next.kind === 'end') throw fail(this.#source, 1, 'it is empty; leave it out to get everything');
    const filter = this.#any(0);
    this.#end();
    return filter;
  }

  #end(): void {
    if (this.#next.kind !== 'end') throw this.#expected("'and', 'or' or the end");
  }

  get #next(): Token {
    return this.#tokens[this.#at]!;
  }

  #expected(what: string): XosError {
    const { kind, text, at } = this.#next;
    return fail(this.#source, at, `${what} is expected${kind === 'end' ? ', and it ends here' : `, not '${text}'`}`);
  }

  #take(...texts: readonly string[]): string | null {
    const { kind, text } = this.#next;
    if ((kind !== 'sign' && kind !== 'word') || !texts.includes(text)) return null;
    this.#at++;
    return text;
  }

  #need(sign: string): void {
    if (this.#take(sign) === null) throw this.#expected(`'${sign}'`);
  }

  #any(depth: number): Filter {
    if (depth > limits.filter_depth_max) throw fail(this.#source, this.#next.at, `it is nested deeper than ${limits.filter_depth_max}`);
    const terms = [this.#all(depth)];
    while (this.#take('or', '||') !== null) terms.push(this.#all(depth));
    return terms.length === 1 ? terms[0]! : { kind: 'any', terms };
  }

  #all(depth: number): Filter {
    const terms = [this.#one(depth)];
    while (this.#take('and', '&&', ',') !== null) terms.push(this.#one(depth));
    return terms.length === 1 ? terms[0]! : { kind: 'all', terms };
  }

  #one(depth: number): Filter {
    if (++this.#terms > limits.filter_terms_max) throw fail(this.#source, this.#next.at, `it has more than ${limits.filter_terms_max} terms`);
    if (this.#take('not', '!') !== null) {
      if (depth >= limits.filter_depth_max) throw fail(this.#source, this.#next.at, `it is nested deeper than ${limits.filter_depth_max}`);
      return { kind: 'not', term: this.#one(depth + 1) };
    }
    if (this.#take('(') !== null) {
      const inside = this.#any(depth + 1);
      this.#need(')');
      return inside;
    }
    if (this.#take('exists') !== null) return { kind: 'exists', field: this.#field() };
    return this.#comparison(this.#field());
  }

  #field(): readonly string[] {
    const { kind, text, at } = this.#next;
    if (kind !== 'word' || keywords.includes(text)) throw this.#expected('a field');
    if (text.startsWith('$') && !['$topic', '$node', '$user', '$size'].includes(text)) throw fail(this.#source, at, `there is no '${text}'; there are $topic, $node, $user and $size`);
    this.#at++;
    return text.split('.');
  }

  #comparison(field: readonly string[]): Filter {
    if (this.#take('in') !== null) return this.#take('{') !== null ? this.#set(field) : this.#range(field);
    if (this.#take('~') !== null) {
      const glob = this.#value();
      if (typeof glob !== 'string') throw fail(this.#source, this.#next.at, "'~' takes a text with * and ?");
      return { kind: 'like', field, glob };
    }
    const op = this.#take('=', '==', '!=', '<=', '>=', '<', '>');
    if (op === null) throw this.#expected(`after '${field.join('.')}' one of = != < <= > >= ~ in`);
    const value = this.#value();
    if (op !== '=' && op !== '==' && op !== '!=' && typeof value === 'boolean') throw fail(this.#source, this.#next.at, `'${op}' cannot order true and false`);
    return { kind: 'compare', field, op: op === '==' ? '=' : (op as Comparison), value };
  }

  #set(field: readonly string[]): Filter {
    const values = [this.#value()];
    while (this.#take(',') !== null) values.push(this.#value());
    this.#need('}');
    return { kind: 'set', field, values };
  }

  #range(field: readonly string[]): Filter {
    const { at } = this.#next;
    const from = this.#number();
    this.#need('..');
    const to = this.#number();
    if (from > to) throw fail(this.#source, at, 'the range is empty: it ends before it begins');
    return { kind: 'range', field, from, to };
  }

  #number(): number {
    if (this.#next.kind !== 'number') throw this.#expected('a number, or a set in { }');
    return this.#tokens[this.#at++]!.number;
  }

  #value(): Scalar {
    const { kind, text, number } = this.#next;
    if (kind === 'sign' || kind === 'end' || (kind === 'word' && ['and', 'or', 'not', 'in', 'exists'].includes(text))) throw this.#expected('a value');
    this.#at++;
    if (kind === 'number') return number;
    return kind === 'word' && (text === 'true' || text === 'false') ? text === 'true' : text;
  }
}

/** Throws XOS_BAD_FILTER with the place of the error. */
export function parseFilter(source: string): Filter {
  return new Parser(source).whole();
}

/** What a filter looks at. `body` is the payload as JSON, null when it is none. */
export interface Subject {
  readonly topic: string;
  readonly node: string;
  readonly user: string;
  readonly size: number;
  readonly body: unknown;
}

export function accepts(filter: Filter, subject: Subject): boolean {
  switch (filter.kind) {
    case 'all': return filter.terms.every((term) => accepts(term, subject));
    case 'any': return filter.terms.some((term) => accepts(term, subject));
    case 'not': return !accepts(filter.term, subject);
    case 'exists': return valueOf(filter.field, subject) !== undefined;
    case 'compare': return compare(valueOf(filter.field, subject), filter.op, filter.value);
    case 'range': {
      const value = valueOf(filter.field, subject);
      return typeof value === 'number' && value >= filter.from && value <= filter.to;
    }
    case 'set': {
      const value = valueOf(filter.field, subject);
      return filter.values.some((each) => each === value);
    }
    case 'like': {
      const value = valueOf(filter.field, subject);
      return typeof value === 'string' && like(filter.glob, value);
    }
  }
}

function valueOf(field: readonly string[], subject: Subject): unknown {
  switch (field[0]) {
    case '$topic': return subject.topic;
    case '$node': return subject.node;
    case '$user': return subject.user;
    case '$size': return subject.size;
  }
  let value: unknown = subject.body;
  for (const name of field) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}

function compare(found: unknown, op: Comparison, wanted: Scalar): boolean {
  if (op === '!=') return found !== undefined && found !== wanted;
  if (op === '=') return found === wanted;
  if ((typeof found !== 'number' && typeof found !== 'string') || typeof found !== typeof wanted) return false;
  switch (op) {
    case '<': return found < wanted;
    case '<=': return found <= wanted;
    case '>': return found > wanted;
    case '>=': return found >= wanted;
  }
}

/** '*' any text, '?' one character. Goes back to the last star only, so the time is at most the product of the lengths. */
function like(glob: string, text: string): boolean {
  let [g, t, star, mark] = [0, 0, -1, 0];
  while (t < text.length) {
    if (g < glob.length && glob[g] === '*') [star, mark] = [g++, t];
    else if (g < glob.length && (glob[g] === '?' || glob[g] === text[t])) [g, t] = [g + 1, t + 1];
    else if (star >= 0) [g, t] = [star + 1, ++mark];
    else return false;
  }
  while (glob[g] === '*') g++;
  return g === glob.length;
}
