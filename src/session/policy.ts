import type { LoginPolicy } from '../vo/login-policy.ts';

/** What this site decides by itself. */
export interface SitePolicy {
  /** Members that get no session here, neither by login nor from another node. */
  readonly deny: readonly string[];
  /** Jobs of a session end when its user logs out. Off: what was sent to the background with nohup goes on, as on any Linux. */
  readonly kill_on_logout: boolean;
  /** As in the VO's login policy; the shorter time counts. */
  readonly offline_hours_max: number;
  /** `volume`: the home is a volume of XtreemFS; `local`: a directory of this node, for a node without file services. */
  readonly homes: 'volume' | 'local';
}

/** What happens to a session's jobs at logout: VO and site may each want them to end. */
export const killsOnLogout = (site: SitePolicy, vo: LoginPolicy): boolean => site.kill_on_logout || vo.logout === 'kill';
