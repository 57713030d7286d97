"""The web console: start an order, follow its saga, read its rows, resume a stuck saga.

server.py has the routes, protection.py the checks of requests and the headers of responses, form.py the form that
starts a saga, views.py the data of the pages. ``templates`` has the pages, ``static`` their scripts.
"""
