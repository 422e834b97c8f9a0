import { XosError } from '../../core/errors.ts';
import type { Values } from '../ads/index.ts';
import { parseAttributes, type Attributes } from './attributes.ts';
import { limits } from './limits.ts';

interface Metric {
  readonly uid: number;
  value: number;
  until_ms: number;
}

/** Conditions on metrics that users defined are written `metric.NAME`. */
export const metric_prefix = 'metric.';
const name_pattern = /^[a-z][a-z0-9_-]{0,31}$/;

const bad = (what: string): XosError => new XosError('XOS_BAD_ARGUMENT', `cannot describe this node: ${what}`);

/** What was said of this node while it runs: attributes that its administrator sets, and metrics of whoever measures something here. */
export class Described {
  /** Over those of the configuration; kept on disk. */
  attributes: Attributes;
  readonly #metrics = new Map<string, Metric>();

  constructor(attributes: Attributes) {
    this.attributes = attributes;
  }

  /** Throws XOS_BAD_ARGUMENT; then nothing has changed. */
  change(set: unknown, unset: unknown): void {
    if (!Array.isArray(unset) || unset.some((name) => typeof name !== 'string')) throw bad("'unset' must be a list of names");
    const gone = new Set<unknown>(unset);
    try {
      this.attributes = parseAttributes({ ...Object.fromEntries(Object.entries(this.attributes).filter(([name]) => !gone.has(name))), ...Object(set) });
    } catch (cause) {
      throw cause instanceof XosError ? bad(cause.message.replace(/^.*'attributes' /, 'it ')) : cause;
    }
  }

  /**
   * A metric has its value until then, and belongs to who gave it first; root may say anything. True when there is a new name.
   * Throws XOS_BAD_ARGUMENT, XOS_DENIED, XOS_BUSY.
   */
  measure(name: string, value: unknown, uid: number, now_ms: number, life_ms: number): boolean {
    this.#expire(now_ms);
    if (!name_pattern.test(name)) throw bad(`'${name.slice(0, 60)}' is no name of a metric: small letters, digits, _ and -, at most 32`);
    if (typeof value !== 'number' || !Number.isFinite(value)) throw bad(`metric '${name}' must be a number`);
    if (!Number.isFinite(life_ms) || life_ms < limits.metric_life_ms_min || life_ms > limits.metric_life_ms_max) throw bad(`metric '${name}' must be good for ${limits.metric_life_ms_min / 1_000} to ${limits.metric_life_ms_max / 1_000} seconds`);
    const known = this.#metrics.get(name);
    if (known !== undefined && known.uid !== uid && uid !== 0) throw new XosError('XOS_DENIED', `cannot set metric '${name}': another user of this node has it; take another name`, { name });
    if (known === undefined) {
      const own = [...this.#metrics.values()].filter((each) => each.uid === uid).length;
      if (this.#metrics.size >= limits.metrics_max || (uid !== 0 && own >= limits.metrics_per_user_max)) throw new XosError('XOS_BUSY', `cannot set metric '${name}': this node has ${this.#metrics.size} of ${limits.metrics_max} metrics, ${own} of them yours (${limits.metrics_per_user_max} are allowed)`, { name });
      this.#metrics.set(name, { uid, value, until_ms: now_ms + life_ms });
      return true;
    }
    Object.assign(known, { value, until_ms: now_ms + life_ms });
    return false;
  }

  #expire(now_ms: number): void {
    for (const [name, { until_ms }] of this.#metrics) if (until_ms < now_ms) this.#metrics.delete(name);
  }

  /** Names of the metrics of now: a part of what the node says of itself, so that queries find it. */
  names(now_ms: number): readonly string[] {
    this.#expire(now_ms);
    return [...this.#metrics.keys()].sort();
  }

  /** As a directory (ADS) wants them: with the prefix. */
  values(now_ms: number): Values {
    this.#expire(now_ms);
    return Object.fromEntries([...this.#metrics].map(([name, { value }]) => [`${metric_prefix}${name}`, value]));
  }
}
