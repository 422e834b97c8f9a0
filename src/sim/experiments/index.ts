import type { Experiment } from '../experiment.ts';
import { dht } from './dht.ts';
import { shapes } from './shapes.ts';
import { topics } from './topics.ts';

/** Every experiment, by name; `npm run sim -- --help` lists them after the scenarios. */
export const experiments: readonly Experiment[] = [topics, shapes, dht];

export const findExperiment = (name: string): Experiment | undefined => experiments.find((experiment) => experiment.name === name);
