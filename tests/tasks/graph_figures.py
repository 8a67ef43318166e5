"""Computes tests/vectors/graph_figures.json with networkx, the library that stellar-core's OverlaySurvey.py uses.

Run once, by hand: python3 -m venv V && V/bin/pip install networkx==3.2.1 && V/bin/python tests/tasks/graph_figures.py
The tests read the file only.
"""
import itertools
import json
import os
import sys

import networkx as nx

HERE = os.path.dirname(os.path.abspath(__file__))


def figures(graph):
    """All figures of one undirected graph whose nodes are 0..n-1."""
    nodes = sorted(graph)
    biggest = graph.subgraph(max(nx.connected_components(graph), key=lambda c: (len(c), -min(c))))
    per_node = lambda of: [of[n] for n in nodes]
    distances = {}
    for source, reached in nx.all_pairs_shortest_path_length(graph):
        for target, hops in reached.items():
            if source < target:
                distances[hops] = distances.get(hops, 0) + 1
    cuts = []
    for s, t in itertools.combinations(nodes, 2):
        if (s * 7 + t * 3) % 5 == 0:  # a fixed fifth of all pairs
            linked = graph.has_edge(s, t)
            paths = nx.node_connectivity(graph, s, t) if nx.has_path(graph, s, t) else 0
            smallest = None if linked else (len(nx.minimum_node_cut(graph, s, t)) if paths else 0)
            cuts.append([s, t, paths, smallest])
    return {
        "order": len(nodes),
        "edges": sorted(sorted(edge) for edge in graph.edges()),
        "density": nx.density(graph),
        "components": sorted((sorted(c) for c in nx.connected_components(graph)), key=lambda c: (-len(c), c[0])),
        "diameter": nx.diameter(biggest),
        "radius": nx.radius(biggest),
        "averageShortestPath": nx.average_shortest_path_length(biggest),
        "distances": [{"hops": h, "pairs": distances[h]} for h in sorted(distances)],
        "degree": per_node(dict(graph.degree())),
        "clustering": per_node(nx.clustering(graph)),
        "averageClustering": nx.average_clustering(graph),
        "betweenness": per_node(nx.betweenness_centrality(graph)),
        "closeness": per_node(nx.closeness_centrality(graph)),
        "coreness": per_node(nx.core_number(graph)),
        "articulation": sorted(nx.articulation_points(graph)),
        "bridges": sorted(sorted(bridge) for bridge in nx.bridges(graph)),
        "cuts": cuts,
    }


def survey():
    """The recorded getsurveyresult, made undirected as the script does; nodes numbered in order of their ids."""
    with open(os.path.join(HERE, "..", "fixtures", "http", "survey-result.json")) as file:
        topology = json.load(file)["topology"]
    graph = nx.Graph()
    for node, answer in topology.items():
        graph.add_node(node)
        for peer in ((answer or {}).get("inboundPeers") or []) + ((answer or {}).get("outboundPeers") or []):
            graph.add_edge(node, peer["nodeId"])
    return nx.convert_node_labels_to_integers(nx.Graph(sorted_graph(graph)), ordering="sorted")


def sorted_graph(graph):
    result = nx.Graph()
    result.add_nodes_from(sorted(graph))
    result.add_edges_from(graph.edges())
    return result


document = {
    "how": f"tests/tasks/graph_figures.py with networkx {nx.__version__}, Python {sys.version.split()[0]}; "
    "defaults of density, connected_components, diameter, radius and average_shortest_path_length (largest component), "
    "clustering, average_clustering, betweenness_centrality (normalized), closeness_centrality (wf_improved), core_number, "
    "articulation_points, bridges; cuts are [s, t, node_connectivity(s, t), len(minimum_node_cut(s, t)) or null when linked]",
    "graphs": {
        "karate_club_graph()": figures(nx.Graph(nx.karate_club_graph().edges())),
        "watts_strogatz_graph(40, 4, 0.2, seed=7)": figures(nx.watts_strogatz_graph(40, 4, 0.2, seed=7)),
        "gnm_random_graph(36, 40, seed=3)": figures(nx.gnm_random_graph(36, 40, seed=3)),
        "tests/fixtures/http/survey-result.json": figures(survey()),
    },
}
with open(os.path.join(HERE, "..", "vectors", "graph_figures.json"), "w") as file:
    json.dump(document, file, indent=None, separators=(",", ":"))
    file.write("\n")
