import type { MemberFacts, NodeRecord } from '../../core/model.ts';
import type { LoginPolicy } from '../../vo/login-policy.ts';

/**
 * Operations on the VO. Allowed to root on the registry's node, and to members with the role `admin` on the node of their login (which
 * holds the key of their credential and signs the request with it); `member-password` also to the member itself.
 */
export interface AdminOperations {
  /** Root on a node that belongs to no VO: makes the VO's keys, becomes its registry and first node. Once. */
  'vo-create': {
    request: { readonly vo: string; readonly number?: number };
    response: VoSummary & { readonly root_key_file: string };
  };
  'vo-show': { request: Record<never, never>; response: VoSummary };
  /** `change`: the password is for one login, which asks for another one. */
  'member-add': { request: { readonly user: string; readonly roles: readonly string[]; readonly password: string; readonly change?: boolean }; response: MemberSummary };
  /** With what is counted against the member now. */
  'member-show': { request: { readonly user: string }; response: MemberDetails };
  /** Forgets wrong passwords, on every node. */
  'member-unlock': { request: { readonly user: string }; response: MemberDetails };
  'member-list': { request: Record<never, never>; response: { readonly members: readonly MemberSummary[] } };
  /** Ends the member's sessions and jobs on all nodes within seconds; the name and uid stay taken. */
  'member-revoke': { request: { readonly user: string; readonly reason?: string }; response: MemberSummary };
  /** As revoke; and the name is free again (the uid never is). */
  'member-remove': { request: { readonly user: string }; response: Record<never, never> };
  'member-roles': { request: { readonly user: string; readonly roles: readonly string[] }; response: MemberSummary };
  /** `old` is needed when the caller is the member itself and no admin. `change`: as in member-add. */
  'member-password': { request: { readonly user: string; readonly old?: string; readonly password: string; readonly change?: boolean }; response: Record<never, never> };
  'login-policy-show': { request: Record<never, never>; response: LoginPolicy };
  'login-policy-set': { request: { readonly change: Partial<LoginPolicy> }; response: LoginPolicy };
  /** What the VO wants for its jobs on every node (src/isolation/policy.ts). */
  'vo-policy-show': { request: Record<never, never>; response: { readonly policy: Readonly<Record<string, string>> } };
  /** null takes a setting back. Answers with the whole policy. */
  'vo-policy-set': { request: { readonly change: Readonly<Record<string, string | null>> }; response: { readonly policy: Readonly<Record<string, string>> } };
  'node-invite': { request: { readonly node: string }; response: { readonly node: string; readonly token: string; readonly expires_ms: number } };
  'node-list': { request: Record<never, never>; response: { readonly nodes: readonly NodeSummary[] } };
  'node-revoke': { request: { readonly node: string }; response: NodeSummary };
  /** Takes back a revocation; the node needs a new certificate, so it is invited again: the answer has a token. */
  'node-admit': { request: { readonly node: string }; response: { readonly node: string; readonly token: string; readonly expires_ms: number } };
}

export interface VoSummary {
  readonly vo: string;
  readonly number: number;
  /** SHA-256 of the root certificate, hexadecimal. */
  readonly root_fingerprint: string;
  readonly registry: string;
  readonly founded_ms: number;
  readonly version: number;
  readonly members: number;
  readonly nodes: number;
}

export interface MemberSummary extends MemberFacts {
  readonly vo: string;
  readonly added_ms: number;
}

export interface MemberDetails extends MemberSummary {
  /** Milliseconds since 1970. */
  readonly password_ms: number;
  /** The next login asks for another password. */
  readonly change: boolean;
  /** Wrong passwords at all nodes since the last right one, and until when they keep logins waiting; null: not at all. */
  readonly failures: number;
  readonly locked_until_ms: number | null;
  /** The same by node. */
  readonly places: readonly { readonly node: string; readonly failures: number; readonly locked_until_ms: number | null }[];
}

export interface NodeSummary extends NodeRecord {
  /** Milliseconds since 1970 when its certificate ends; null without one. */
  readonly certificate_expires_ms: number | null;
}
