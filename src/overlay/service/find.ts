import { XosError } from '../../core/errors.ts';
import { nobody, type Descriptor, type Peer } from '../core/index.ts';
import { matcher, type Constraint, type Query } from '../rss/index.ts';
import { metric_prefix } from './described.ts';
import { whyEnded } from './late.ts';
import { limits } from './limits.ts';
import { parseQuery, type Condition } from './query-text.ts';
import type { Parts } from './parts.ts';

/** What job management says of a node: can be asked of each one. */
const load_attributes = ['load', 'running', 'free_cpus', 'memory_free'] as const;
/** Attributes that change from second to second: they are asked of the nodes that RSS found (ADS), and never part of a descriptor. Metrics of users are, too. */
export const dynamic_attributes = [...load_attributes, 'disk_free'] as const;
export type DynamicAttribute = (typeof load_attributes)[number];
export type DynamicValues = Readonly<Record<DynamicAttribute, number>>;

export interface ParsedQuery {
  readonly fixed: readonly Constraint[];
  readonly dynamic: readonly Condition[];
}

/**
 * Splits a query, and checks that its attributes are known here and its nodes too.
 * @throws XosError XOS_BAD_QUERY
 */
export function understand(parts: Pick<Parts, 'known'>, source: string): ParsedQuery {
  const fixed: Constraint[] = [];
  const dynamic: Condition[] = [];
  for (const condition of parseQuery(source)) {
    if (condition.kind === 'near') fixed.push(near(parts, condition));
    else if ((dynamic_attributes as readonly string[]).includes(condition.attribute)) dynamic.push(condition);
    else if (condition.attribute.startsWith(metric_prefix)) {
      // A node says which metrics it has: who has none need not be asked.
      const member = condition.attribute.slice(metric_prefix.length);
      if (!hasMetric(parts, member)) throw new XosError('XOS_BAD_QUERY', `no node that this one knows has a metric '${member}'; 'xnode describe ${condition.attribute}=VALUE' gives a node one`, { attribute: condition.attribute });
      fixed.push({ kind: 'has', attribute: 'metrics', member });
      dynamic.push(condition);
    } else {
      checkKnown(parts, condition);
      fixed.push(bothForms(condition));
    }
  }
  return { fixed, dynamic };
}

/** Nodes whose descriptors fit, by RSS. `wanted` 0: all. Rejects with XOS_TIMEOUT, XOS_BUSY, or the reason of `signal`. */
export async function find(parts: Parts, fixed: readonly Constraint[], wanted: number, signal: AbortSignal): Promise<{ readonly found: readonly Descriptor[]; readonly complete: boolean }> {
  const query: Query = { constraints: fixed };
  const { peers, complete } = await new Promise<{ peers: readonly Peer[]; complete: boolean }>((resolve, reject) => {
    const done = (result: { peers: readonly Peer[]; complete: boolean }): void => {
      signal.removeEventListener('abort', aborted);
      resolve(result);
    };
    const id = wanted === 0 ? parts.search.all(0, query, done) : parts.search.some(0, query, wanted, done);
    const aborted = (): void => {
      parts.search.cancel(0, id);
      reject(whyEnded(signal, 'the query was not answered in time; try again'));
    };
    if (id < 0) return reject(new XosError('XOS_BUSY', 'too many queries are under way on this node; try again'));
    signal.addEventListener('abort', aborted, { once: true });
  });
  // Whom this node deals with all the time it need not look for; in a young or small VO that is everybody.
  const match = matcher(query, parts.known.book);
  const near = [0, ...parts.mesh.links(0), ...[...parts.membership.view(0)].map(({ peer }) => peer)].filter(match);
  const all = [...new Set([...peers, ...near])].slice(0, wanted === 0 ? undefined : wanted);
  // Texts are compared by hash on the way; here as they are.
  const found = all.flatMap((peer) => (peer === nobody ? [] : parts.known.descriptor(peer) ?? [])).filter((descriptor) => fixed.every((constraint) => fits(descriptor, constraint)));
  return { found, complete };
}

function fits({ attributes }: Descriptor, constraint: Constraint): boolean {
  if (constraint.kind !== 'in' && constraint.kind !== 'not' && constraint.kind !== 'has') return true;
  const value = attributes[constraint.attribute];
  if (constraint.kind === 'has') return Array.isArray(value) && value.includes(constraint.member);
  if (value === undefined || typeof value === 'object') return false;
  return constraint.values.includes(value) === (constraint.kind === 'in');
}

/** `os_version = 13`: whether 13 is a number or a text is the attribute's to say. */
function bothForms(condition: Exclude<Condition, { kind: 'near' }>): Constraint {
  if (condition.kind !== 'in' && condition.kind !== 'not') return condition;
  return { ...condition, values: condition.values.flatMap((value) => (typeof value === 'number' ? [value, String(value)] : [value])) };
}

function checkKnown({ known }: Pick<Parts, 'known'>, condition: Exclude<Condition, { kind: 'near' }>): void {
  const { attribute } = condition;
  const names = new Set<string>(dynamic_attributes);
  let seen = false;
  for (let peer = 0; peer < known.book.capacity && !seen; peer++) {
    const attributes = known.descriptor(peer)?.attributes;
    if (attributes === undefined) continue;
    for (const name of Object.keys(attributes)) if (!name.startsWith('overlay.')) names.add(name);
    seen = Object.hasOwn(attributes, attribute) || attribute in attributes;
  }
  if (seen) return;
  const shown = [...names].sort().slice(0, limits.names_shown_max).join(', ');
  throw new XosError('XOS_BAD_QUERY', `no node that this one knows has an attribute '${attribute}'; there are ${shown}${names.size > limits.names_shown_max ? ' …' : ''}`, { attribute });
}

function hasMetric({ known }: Pick<Parts, 'known'>, name: string): boolean {
  for (let peer = 0; peer < known.book.capacity; peer++) {
    const metrics = known.descriptor(peer)?.attributes['metrics'];
    if (Array.isArray(metrics) && metrics.includes(name)) return true;
  }
  return false;
}

/** Whether each node can be asked for all of that by itself; else a directory has to be opened. */
export const askedDirectly = (conditions: readonly Condition[]): boolean =>
  conditions.every((condition) => condition.kind !== 'near' && (load_attributes as readonly string[]).includes(condition.attribute));

function near({ known }: Pick<Parts, 'known'>, { node, within_ms }: Extract<Condition, { kind: 'near' }>): Constraint {
  const peer = node === 'here' ? 0 : known.find(node);
  if (peer < 0) throw new XosError('XOS_BAD_QUERY', `where node '${node}' is, is not known here`, { node });
  const [x, y, height, error] = known.book.coordinates.subarray(peer * 4, peer * 4 + 4) as unknown as readonly [number, number, number, number];
  if (error >= 1) throw new XosError('XOS_BAD_QUERY', `where node '${node}' is, was not measured yet; try again in a minute`, { node });
  return { kind: 'near', x, y, height, within_ms };
}

/** Whether what a node says of itself now fits. */
export function fitsNow(values: DynamicValues, conditions: readonly Condition[]): boolean {
  return conditions.every((condition) => {
    if (condition.kind === 'near' || condition.kind === 'has') return false;
    const value = values[condition.attribute as DynamicAttribute];
    if (condition.kind !== 'range') return condition.values.includes(value) === (condition.kind === 'in');
    return (condition.low_open ? value > condition.low : value >= condition.low) && (condition.high_open ? value < condition.high : value <= condition.high);
  });
}
