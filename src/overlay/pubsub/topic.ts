import { XosError } from '../../core/errors.ts';
import { limits } from './limits.ts';

/**
 * Topics are hierarchical, levels separated by '/': `demo/jobs/n1-42/state`. The first level is the VO. A pattern may have '+' for one whole
 * level and '#' as its last level for the rest, which includes nothing: `demo/#` is also matched by `demo` (as in MQTT 5, section 4.7).
 */
const level_pattern = /^[A-Za-z0-9_.@:=~-]+$/;

const bad = (kind: string, text: unknown, rule: string): XosError => {
  const shown = typeof text === 'string' ? text.slice(0, 100) : typeof text;
  return new XosError('XOS_BAD_TOPIC', `${kind} '${shown}' is not valid: ${rule}`, { topic: shown });
};

function levelsOf(kind: string, text: unknown): readonly string[] {
  if (typeof text !== 'string' || text === '') throw bad(kind, text, 'write it as VO/level/level, for instance demo/app/news');
  if (text.length > limits.topic_bytes_max) throw bad(kind, text, `it is longer than ${limits.topic_bytes_max} characters`);
  const levels = text.split('/');
  if (levels.length > limits.topic_levels_max) throw bad(kind, text, `it has more than ${limits.topic_levels_max} levels`);
  if (levels.includes('')) throw bad(kind, text, "a level is empty ('/' stands between two levels, not at the ends)");
  return levels;
}

function checkLevel(kind: string, text: string, level: string): void {
  if (level.length > limits.topic_level_bytes_max) throw bad(kind, text, `level '${level.slice(0, 20)}…' is longer than ${limits.topic_level_bytes_max} characters`);
  if (!level_pattern.test(level)) throw bad(kind, text, `level '${level}' has a character other than letters, digits and _ . @ : = ~ -`);
}

/** The levels of a topic to publish on. Throws XOS_BAD_TOPIC, also for wildcards: a message has one topic. */
export function parseTopic(text: unknown): readonly string[] {
  const levels = levelsOf('topic', text);
  for (const level of levels) {
    if (level.includes('+') || level.includes('#')) throw bad('topic', text, "'+' and '#' are for subscriptions; a message is published on one topic");
    checkLevel('topic', text as string, level);
  }
  return levels;
}

/** The levels of a pattern to subscribe to. Throws XOS_BAD_TOPIC. */
export function parsePattern(text: unknown): readonly string[] {
  const levels = levelsOf('topic pattern', text);
  levels.forEach((level, at) => {
    if (level === '+') return;
    if (level === '#') {
      if (at !== levels.length - 1) throw bad('topic pattern', text, "'#' can only be the last level");
      return;
    }
    if (level.includes('+') || level.includes('#')) throw bad('topic pattern', text, `in level '${level}' a wildcard stands beside other characters; it takes a whole level`);
    checkLevel('topic pattern', text as string, level);
  });
  if (levels[0] === '+' || levels[0] === '#') throw bad('topic pattern', text, 'the first level is the VO and cannot be a wildcard');
  return levels;
}

export function matches(pattern: readonly string[], topic: readonly string[]): boolean {
  for (let at = 0; at < pattern.length; at++) {
    if (pattern[at] === '#') return true;
    if (at >= topic.length || (pattern[at] !== '+' && pattern[at] !== topic[at])) return false;
  }
  return pattern.length === topic.length;
}

/** True when every topic that `inner` matches is matched by `outer` too: a grant on `outer` covers a subscription to `inner`. */
export function covers(outer: readonly string[], inner: readonly string[]): boolean {
  for (let at = 0; ; at++) {
    if (outer[at] === '#') return true;
    if (at === outer.length || at === inner.length) return outer.length === inner.length;
    if (inner[at] === '#' || (outer[at] !== '+' && outer[at] !== inner[at])) return false;
  }
}

/** True when some topic is matched by both. */
export function overlaps(a: readonly string[], b: readonly string[]): boolean {
  for (let at = 0; ; at++) {
    if (a[at] === '#' || b[at] === '#') return true;
    if (at === a.length || at === b.length) return a.length === b.length;
    if (a[at] !== '+' && b[at] !== '+' && a[at] !== b[at]) return false;
  }
}

interface Branch<T> {
  readonly next: Map<string, Branch<T>>;
  readonly here: Set<T>;
  /** Of patterns that end in '#' here. */
  readonly rest: Set<T>;
}

const branch = <T>(): Branch<T> => ({ next: new Map(), here: new Set(), rest: new Set() });

/** Who subscribed to what: a message finds its subscribers in time of its levels, however many patterns there are. */
export class TopicTree<T> {
  readonly #root = branch<T>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Returns the way to take it away; twice is no error. */
  add(pattern: readonly string[], subscriber: T): () => void {
    const path: [string, Branch<T>][] = [];
    let at = this.#root;
    for (const level of pattern) {
      if (level === '#') break;
      let next = at.next.get(level);
      if (next === undefined) at.next.set(level, (next = branch<T>()));
      path.push([level, at]);
      at = next;
    }
    const set = pattern.at(-1) === '#' ? at.rest : at.here;
    if (!set.has(subscriber)) this.#size++;
    set.add(subscriber);
    return () => {
      if (!set.delete(subscriber)) return;
      this.#size--;
      for (let index = path.length - 1; index >= 0; index--) {
        const [level, parent] = path[index]!;
        const child = parent.next.get(level);
        if (child === undefined || child.next.size > 0 || child.here.size > 0 || child.rest.size > 0) break;
        parent.next.delete(level);
      }
    };
  }

  /** Each subscriber once, whichever of its patterns match. */
  match(topic: readonly string[]): ReadonlySet<T> {
    const found = new Set<T>();
    let level = [this.#root];
    for (let at = 0; at <= topic.length; at++) {
      const following: Branch<T>[] = [];
      for (const each of level) {
        for (const one of each.rest) found.add(one);
        if (at === topic.length) for (const one of each.here) found.add(one);
        else for (const next of [each.next.get(topic[at]!), each.next.get('+')]) if (next !== undefined) following.push(next);
      }
      level = following;
    }
    return found;
  }
}
