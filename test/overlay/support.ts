// The worlds that the tests of topics share.
export { TopicWorld, type Told } from '../../src/sim/topic-world.ts';
