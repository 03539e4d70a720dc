"""A Ray cluster on this machine: a head without cores, and workers with one each. `python ray_cluster.py WORKERS`.

It prints the address of the head, and ends with its standard input; before, a line `worker` kills a worker, and a line
`head` the head, each with all that it runs.
"""

import os
import sys

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
MEMORY = {"object_store_memory": 80 * 2**20, "include_dashboard": False}


def main() -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **MEMORY})
    workers = [cluster.add_node(num_cpus=1, **MEMORY) for _ in range(int(sys.argv[1]))]
    print(cluster.address, flush=True)
    for line in sys.stdin:
        if line.strip() == "worker":
            cluster.remove_node(workers.pop(), allow_graceful=False)
        else:
            assert cluster.head_node is not None
            cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)
        print("killed", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
