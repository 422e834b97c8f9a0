export { createIsolationService } from './service.ts';
export { policy_keys, policy_rules, readSetting, showValue, type PolicyKey } from './policy.ts';
