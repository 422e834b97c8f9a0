import type { Bench } from '../bench.ts'
import { topicOf } from '../part.ts'
import type { Samples, Topic } from '../topic.ts'

export async function checkpointTopic(_bench: Bench, _samples: Samples): Promise<Topic> {
  return topicOf('checkpoint', [])
}
