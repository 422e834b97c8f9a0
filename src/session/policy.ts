/** What this site decides by itself. */
export interface SitePolicy {
  /** Members that get no session here, neither by login nor from another node. */
  readonly deny: readonly string[];
  /** Jobs of a session end when its user logs out. Off: what was sent to the background with nohup goes on, as on any Linux. */
  readonly kill_on_logout: boolean;
  /** `volume`: the home is a volume of XtreemFS; `local`: a directory of this node, for a node without file services. */
  readonly homes: 'volume' | 'local';
}
