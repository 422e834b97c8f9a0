import { XosError } from '../../core/errors.ts';
import { covers, matches, overlaps, parsePattern } from './topic.ts';

/**
 * Who may publish and subscribe where. Decided by the node where the caller is, and for publishing again by every node that takes the
 * message: a node is believed about its own users (as for jobs), but what only nodes may say is not taken from a user, and what a node says
 * of its own jobs not from another node.
 */
export type Principal =
  | { readonly kind: 'node'; readonly node: string }
  | { readonly kind: 'user'; readonly user: string; readonly uid: number; readonly roles: readonly string[] };

/** Whom a rule names: `nodes`, `members`, `role:NAME`, `user:NAME`. */
export type Who = string;

export interface TopicRule {
  readonly pattern: string;
  readonly publish: readonly Who[];
  readonly subscribe: readonly Who[];
}

export interface Decision {
  readonly allowed: boolean;
  /** Only messages about this uid's own things are given out; null: all. */
  readonly own_uid: number | null;
  readonly why: string;
}

interface ParsedRule extends TopicRule {
  readonly levels: readonly string[];
}

/** The rules of a VO unless its site adds some: members talk below VO/app, nodes everywhere; members hear of their own jobs. */
export const defaultRules = (vo: string): readonly TopicRule[] => [
  { pattern: `${vo}/app/#`, publish: ['members', 'nodes'], subscribe: ['members', 'nodes'] },
  { pattern: `${vo}/jobs/#`, publish: ['nodes'], subscribe: ['nodes', 'role:admin', 'own'] },
  { pattern: `${vo}/vo/#`, publish: ['nodes'], subscribe: ['nodes', 'role:admin'] },
  { pattern: `${vo}/#`, publish: ['nodes'], subscribe: ['nodes', 'role:admin'] },
];

export class Access {
  readonly #vo: string;
  readonly #rules: readonly ParsedRule[];

  /** Rules of the site come first: of those that match a topic the first decides. Throws XOS_BAD_TOPIC, XOS_CONFIG. */
  constructor(vo: string, site: readonly TopicRule[] = []) {
    this.#vo = vo;
    this.#rules = [...site, ...defaultRules(vo)].map((rule) => ({ ...rule, levels: parsePattern(rule.pattern) }));
    for (const { pattern, levels, publish, subscribe } of this.#rules) {
      if (levels[0] !== vo) throw new XosError('XOS_CONFIG', `the rule for '${pattern}' is of another VO than '${vo}'`, { pattern });
      for (const who of [...publish, ...subscribe]) {
        if (!/^(?:nodes|members|own|(?:role|user):[a-z_][a-z0-9_.-]{0,30})$/.test(who)) throw new XosError('XOS_CONFIG', `the rule for '${pattern}' names '${who}'; write nodes, members, role:NAME or user:NAME`, { pattern });
      }
    }
  }

  publish(principal: Principal, topic: readonly string[]): Decision {
    if (topic[0] !== this.#vo) return denied(`this node belongs to VO '${this.#vo}', and the topic to '${topic[0]}'`);
    const rule = this.#rules.find(({ levels }) => matches(levels, topic));
    if (rule === undefined || !rule.publish.some((who) => names(who, principal))) return denied(`on '${rule?.pattern ?? topic.join('/')}' ${allowedTo(rule?.publish ?? [])} may publish`);
    // A job's events are told by its home.
    if (principal.kind === 'node' && topic[1] === 'jobs' && topic[2] !== undefined && !new RegExp(`^${principal.node}-[0-9]+$`).test(topic[2])) return denied(`job '${topic[2]}' is not one of node '${principal.node}'`);
    return { allowed: true, own_uid: null, why: '' };
  }

  /** Every rule that the pattern touches must allow it, until one covers it whole. */
  subscribe(principal: Principal, pattern: readonly string[]): Decision {
    if (pattern[0] !== this.#vo) return denied(`this node belongs to VO '${this.#vo}', and the topic to '${pattern[0]}'`);
    let own_uid: number | null = null;
    for (const rule of this.#rules) {
      if (!overlaps(rule.levels, pattern)) continue;
      const freely = rule.subscribe.some((who) => names(who, principal));
      if (!freely && !(rule.subscribe.includes('own') && principal.kind === 'user')) return denied(`to '${rule.pattern}' ${allowedTo(rule.subscribe)} may subscribe`);
      if (!freely && principal.kind === 'user') own_uid = principal.uid;
      if (covers(rule.levels, pattern)) return { allowed: true, own_uid, why: '' };
    }
    return denied('no rule allows it');
  }
}

const denied = (why: string): Decision => ({ allowed: false, own_uid: null, why });

function names(who: Who, principal: Principal): boolean {
  if (principal.kind === 'node') return who === 'nodes';
  if (who === 'members') return true;
  const [kind, name = ''] = who.split(':');
  return kind === 'role' ? principal.roles.includes(name) : kind === 'user' && principal.user === name;
}

const allowedTo = (whos: readonly Who[]): string => (whos.length === 0 ? 'nobody' : `only ${whos.map((who) => (who === 'own' ? 'members (their own)' : who.replace(':', ' '))).join(', ')}`);
