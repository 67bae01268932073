"""All that speaks HTTP: address checks, robots rules, politeness and the client itself.

`laion_hpc.web.client` is the only module that opens connections to the web. `download` keeps a
client open for many requests; whoever needs a single one (an image URL given to the search
service) calls `client.fetch` or `client.fetch_blocking`.
"""
