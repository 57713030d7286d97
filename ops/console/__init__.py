"""The web console: start an order, watch its saga, look at its rows, resume what is stuck.

server.py has the addresses, protection.py what a request must be, form.py the order that is started, watch.py what is
shown. Pages are in ``templates``, what runs in them in ``static``.
"""
