export { agentService } from './agent.ts';
export { registerSessionOperations } from './api.ts';
export { Homes } from './homes.ts';
export type { SessionParts, SitePolicy } from './parts.ts';
export { PendingLogins } from './pending.ts';
export { sessionService } from './service.ts';
export { prove } from './sign.ts';
export { Spread } from './spread.ts';
export { SessionTable } from './table.ts';
