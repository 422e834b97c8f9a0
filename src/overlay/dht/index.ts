export { Dht, keyOf, type Result } from './dht.ts';
export { dhtCodecs, type Key, type Value } from './messages.ts';
